use std::sync::Arc;

use base::MessageId;
use bytes::Bytes;
use deliver::{Captured, SandboxSink};
use service::sandbox::Inbox;
use store::SandboxLimits;

use crate::kit::{NEW_YEAR, meta, open_store, operator};

#[tokio::test]
async fn captured_mail_is_in_the_inbox() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path());
    let inbox = Inbox::new(store.clone(), SandboxLimits::default());
    let mut meta = meta(&["x@one.example", "y@two.example"]);
    meta.id = MessageId::from_bytes([9; 16]);
    let captured = Captured {
        meta: Arc::new(meta),
        recipients: vec![0],
        content: Bytes::from_static(b"Subject: Hi\r\n\r\nHello\r\n"),
        at: NEW_YEAR,
    };
    inbox.capture(captured.clone()).await.unwrap();
    inbox.capture(captured).await.unwrap();
    let list = store.sandbox_list(operator(), None, 10).await.unwrap();
    assert_eq!(list.len(), 1, "captured again, it is the same");
    assert_eq!(list[0].recipients.len(), 1);
    let shown = store.sandbox_show(operator(), list[0].id).await.unwrap().unwrap();
    assert_eq!(shown.content.as_deref(), Some(b"Subject: Hi\r\n\r\nHello\r\n".as_slice()));

    store.close().await;
    let meta = crate::kit::meta(&["x@one.example"]);
    let late = Captured { meta: Arc::new(meta), recipients: vec![0], content: Bytes::new(), at: NEW_YEAR };
    assert_eq!(inbox.capture(late).await.unwrap_err(), "the store is closed");
}
