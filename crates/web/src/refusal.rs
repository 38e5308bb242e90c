//! Why a request was not carried out, and how that is said in HTTP.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// What rooms below answer when they cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing, or it is not the asker's.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong; the text says what to change.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done as things are: the name is taken, for instance.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    TooLarge(String),
    /// Our fault, and it may pass: try again.
    #[error("{0}")]
    Unavailable(String),
    /// Our fault. The text is for the log; the asker is not told.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NotFound(_) => StatusCode::NOT_FOUND,
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the asker may read.
    pub fn public_text(&self) -> &str {
        match self {
            Refusal::Internal(_) => "something went wrong here; the log of the server says what",
            Refusal::NotFound(text)
            | Refusal::Invalid(text)
            | Refusal::Conflict(text)
            | Refusal::TooLarge(text)
            | Refusal::Unavailable(text) => text,
        }
    }

    /// Writes down what is our fault: once, here, where it is handled.
    pub(crate) fn log(&self) {
        if let Refusal::Internal(cause) = self {
            tracing::error!(cause = %cause, "a request failed");
        }
    }
}

/// An error of a JSON call (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
}

/// An error of a JSON call, on its way out.
pub(crate) struct JsonRefusal(pub Refusal);

impl From<Refusal> for JsonRefusal {
    fn from(refusal: Refusal) -> JsonRefusal {
        JsonRefusal(refusal)
    }
}

impl IntoResponse for JsonRefusal {
    fn into_response(self) -> Response {
        self.0.log();
        let status = self.0.status();
        let problem = Problem {
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.0.public_text().to_owned(),
        };
        let mut response = (status, Json(problem)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
