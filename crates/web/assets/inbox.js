// Keeps the first page of the inbox fresh. Without it, the page reloads itself.
"use strict";
{
  const rows = document.getElementById("rows");
  const source = rows && rows.dataset.live;
  let shown = null;

  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(source, { cache: "no-store" });
      if (!answer.ok) return;
      const text = await answer.text();
      // The server has escaped it: it is the same fragment that the page was made with.
      if (text === shown) return;
      const focused = rows.contains(document.activeElement) && document.activeElement.getAttribute("href");
      rows.innerHTML = text;
      if (focused) rows.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      shown = text;
    } catch {
      // The server is away for a moment; the next look will tell.
    }
  };

  if (source) {
    setInterval(look, 2000);
    document.addEventListener("visibilitychange", look);
  }
}
