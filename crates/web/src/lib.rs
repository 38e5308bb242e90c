//! Pages and HTTP calls: the sandbox inbox, health and metrics, and what the command line asks.
//!
//! Two routers, never served on the same socket:
//! - [`router`]: `/healthz`, `/readyz`, `/metrics` and the [`sandbox`] pages, on `http.address`;
//! - [`admin::router`]: what the command line asks of a running server, on the control socket.
//!
//! What they need from the rooms below is declared here as small traits ([`Inbox`], [`Vitals`],
//! [`admin::Operations`]) and given at start; there is no SQL and no rule of the trade in this room.
//!
//! Invariants:
//! - Everything that came from outside (headers, addresses, file names, what a server said) is text:
//!   templates escape it, always. A message's HTML is shown only in a frame that can do nothing
//!   (see `sandbox/frame.rs`).
//! - Every answer, errors too, carries a Content-Security-Policy that allows our own files alone,
//!   `nosniff`, `no-referrer`, and `no-store` where it holds mail.
//! - The private pages answer only to names that are ours, so that no web site can read them through
//!   the reader's browser (DNS rebinding).
//! - The pages work without JavaScript; the one script only refreshes the list.

pub mod admin;
mod guard;
mod health;
mod page;
mod refusal;
mod sandbox;
mod site;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::get;

pub use page::rfc3339;
pub use refusal::{Problem, Refusal};
pub use sandbox::ListedMessage;
pub use site::{Answer, Captured, Entry, Inbox, Site, Vitals, WayIn};

/// All pages, for `http.address`.
pub fn router(site: Site) -> Router {
    let private = Router::new()
        .route("/", get(|| async { Redirect::to("/sandbox") }))
        .merge(sandbox::routes())
        .fallback(page::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&site.hosts), guard::known_host));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/assets/style.css", get(page::style))
        .route("/assets/inbox.js", get(page::inbox_script))
        .route("/assets/icon.svg", get(page::icon))
        .merge(private)
        .method_not_allowed_fallback(|| async {
            page::error(StatusCode::METHOD_NOT_ALLOWED, "Only to be read", "These pages take no other method than GET.")
        })
        .layer(middleware::from_fn(guard::protect))
        .with_state(site)
}
