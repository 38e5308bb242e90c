//! What every answer carries, and who may ask for the private pages.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base::Domain;

use crate::page;

/// No script but our own file, no style but our own file, nothing from elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Puts the protective headers on an answer, errors included. A handler that needs another policy
/// (the frame with a message's HTML) has set its own.
pub(crate) async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fallback = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Another site's page must not load our answers, not even as an image or a script.
        (header::HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
        (header::HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    for (name, value) in fallback {
        headers.entry(name).or_insert(value);
    }
    response
}

/// Refuses a request for a name that is not ours. A web site can point its own name at this machine
/// (DNS rebinding); the browser then believes that the site may read our answers, but it still sends
/// that site's name.
pub(crate) async fn known_host(State(hosts): State<Arc<[Domain]>>, request: Request, next: Next) -> Response {
    if is_known(request.headers(), request.uri().host(), &hosts) {
        return next.run(request).await;
    }
    page::error(
        StatusCode::MISDIRECTED_REQUEST,
        "This name is not known here",
        "The sandbox answers to IP addresses, to localhost and to the names in http.hosts of the configuration. \
         If you came through a reverse proxy, add its name there.",
    )
    .into_response()
}

fn is_known(headers: &HeaderMap, uri_host: Option<&str>, hosts: &[Domain]) -> bool {
    let mut given = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (given.next(), given.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    // A request line with a whole URL names the host a second time.
    is_known_name(host, hosts) && uri_host.is_none_or(|host| is_known_name(host, hosts))
}

fn is_known_name(host: &str, hosts: &[Domain]) -> bool {
    let name = without_port(host);
    let bare = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(name);
    // An address cannot be made to point elsewhere.
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || hosts.iter().any(|known| known.ascii() == name)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) && !is_bare_ipv6(host) => name,
        _ => host,
    }
}

fn is_bare_ipv6(host: &str) -> bool {
    !host.starts_with('[') && host.matches(':').count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        let hosts = [Domain::parse("mail.example.org").unwrap()];
        for ours in [
            "127.0.0.1:8025",
            "127.0.0.1",
            "[::1]:8025",
            "[::1]",
            "localhost:8025",
            "LOCALHOST",
            "postrider.localhost:8025",
            "mail.example.org",
            "Mail.Example.org.:443",
        ] {
            assert!(is_known_name(ours, &hosts), "{ours}");
        }
    }

    #[test]
    fn a_name_that_a_stranger_owns_is_not() {
        let hosts = [Domain::parse("mail.example.org").unwrap()];
        for strange in
            ["evil.example", "evil.example:8025", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80", "[::1"]
        {
            assert!(!is_known_name(strange, &hosts), "{strange}");
        }
    }

    #[test]
    fn a_request_needs_exactly_one_host() {
        let mut headers = HeaderMap::new();
        assert!(!is_known(&headers, None, &[]));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(is_known(&headers, None, &[]));
        assert!(!is_known(&headers, Some("evil.example"), &[]));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_known(&headers, None, &[]));
    }
}
