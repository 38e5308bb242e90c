//! The sandbox inbox: what was captured instead of sent.
//!
//! | path | what |
//! |---|---|
//! | `/sandbox` | the list, newest first, 50 a page |
//! | `/sandbox/rows` | the list alone, for the page that refreshes itself |
//! | `/sandbox/messages.json` | the list for programs |
//! | `/sandbox/messages/{id}` | one message; `?view=` names the tab |
//! | `/sandbox/messages/{id}/frame` | its HTML, sanitised, for the frame in that page |
//! | `/sandbox/messages/{id}.eml` | its bytes |

mod frame;
mod list;
mod message;

use axum::Router;
use axum::routing::get;

use crate::site::Site;

pub use list::ListedMessage;

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/sandbox", get(list::inbox))
        .route("/sandbox/rows", get(list::rows))
        .route("/sandbox/messages.json", get(list::json))
        .route("/sandbox/messages/{id}", get(message::show))
        .route("/sandbox/messages/{id}/frame", get(message::html_frame))
}
