//! What machines ask for: does it live, does it take mail, what has it counted.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::site::Site;

/// The process lives and answers. It says nothing about mail: a restart would not help there.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    faults: Vec<String>,
}

/// 200 while mail is accepted, else 503 with the reasons.
pub(crate) async fn ready(State(site): State<Site>) -> Response {
    let faults = site.vitals.faults();
    let ready = faults.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, faults })).into_response()
}

/// Everything in the registry, as Prometheus reads it.
pub(crate) async fn metrics(State(site): State<Site>) -> Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &site.metrics).is_err() {
        // A collector of ours failed to write into memory; the next scrape may do better.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
