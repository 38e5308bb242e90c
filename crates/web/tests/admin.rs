//! The calls of the command line: what is passed on, what is refused, how errors look.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base::{MessageId, Timestamp};
use data_encoding::BASE64;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use web::admin::types::{
    Account, Credential, Health, IssuedCredential, MessageStory, NewAccount, NewCredential, Order, Ordered, QueuePage,
    QueueSummary, Selection, Sent, Time,
};
use web::admin::{Operations, Submission};
use web::{Answer, Refusal};

const NOON: Time = Time(Timestamp::from_secs(1_795_321_000));

/// Answers each call, and remembers what it was asked.
#[derive(Default)]
struct Office {
    asked: Mutex<Vec<String>>,
}

impl Office {
    fn answer<T: Send + 'static>(&self, asked: String, answer: Result<T, Refusal>) -> Answer<'_, T> {
        self.asked.lock().expect("no test panics while it holds this").push(asked);
        Box::pin(async move { answer })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics while it holds this").clone()
    }
}

fn account(name: &str) -> Account {
    Account { id: 1, name: name.to_owned(), created_at: NOON, revoked_at: None }
}

impl Operations for Office {
    fn health(&self) -> Answer<'_, Health> {
        let health = Health {
            version: "0.1.0".to_owned(),
            pid: 1,
            mode: "sandbox".to_owned(),
            started_at: NOON,
            ready: true,
            faults: Vec::new(),
        };
        self.answer("health".to_owned(), Ok(health))
    }

    fn queue_summary(&self) -> Answer<'_, QueueSummary> {
        let summary = QueueSummary { queued: 0, in_flight: 0, held: 0, destinations: Vec::new(), more: 0 };
        self.answer("queue".to_owned(), Ok(summary))
    }

    fn queue_list(&self, selection: Selection, after: Option<String>, limit: u32) -> Answer<'_, QueuePage> {
        let page = QueuePage { deliveries: Vec::new(), total: Some(0), next: None };
        self.answer(format!("list {selection:?} {after:?} {limit}"), Ok(page))
    }

    fn queue_order(&self, order: Order, selection: Selection) -> Answer<'_, Ordered> {
        self.answer(
            format!("{} {:?}", order.as_str(), selection.destination),
            Ok(Ordered { deliveries: 3, in_flight: 0 }),
        )
    }

    fn message(&self, id: MessageId) -> Answer<'_, MessageStory> {
        self.answer(format!("message {id}"), Err(Refusal::NotFound("there is no such message".to_owned())))
    }

    fn accounts(&self) -> Answer<'_, Vec<Account>> {
        self.answer("accounts".to_owned(), Ok(vec![account("shop")]))
    }

    fn account_add(&self, new: NewAccount) -> Answer<'_, Account> {
        self.answer(format!("add {}", new.name), Err(Refusal::Conflict("there is an account of that name".to_owned())))
    }

    fn account_revoke(&self, name: String) -> Answer<'_, Account> {
        let answer = Ok(account(&name));
        self.answer(format!("revoke {name}"), answer)
    }

    fn credentials(&self, account: Option<String>) -> Answer<'_, Vec<Credential>> {
        self.answer(format!("credentials {account:?}"), Ok(Vec::new()))
    }

    fn credential_add(&self, new: NewCredential) -> Answer<'_, IssuedCredential> {
        let issued = IssuedCredential { username: "shop-1".into(), password: "p".into(), account: new.account.clone() };
        self.answer(format!("credential for {} {:?}", new.account, new.username), Ok(issued))
    }

    fn credential_revoke(&self, username: String) -> Answer<'_, Credential> {
        self.answer(format!("revoke {username}"), Err(Refusal::Internal("the disk /dev/sda1 is gone".to_owned())))
    }

    fn send(&self, submission: Submission) -> Answer<'_, Sent> {
        let asked = format!(
            "send {:?} -> {:?}: {}",
            submission.from,
            submission.to,
            String::from_utf8_lossy(&submission.content).escape_debug()
        );
        self.answer(asked, Ok(Sent { id: MessageId::new(1, [0; 10]), recipients: 1 }))
    }
}

async fn call(office: &Arc<Office>, method: &str, path: &str, body: Option<Value>) -> (StatusCode, String, Value) {
    let request = Request::builder().method(method).uri(format!("/api/v1/admin{path}"));
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let router = web::admin::router(Arc::clone(office) as Arc<dyn Operations>, 3_000_000);
    let response =
        router.oneshot(request.expect("the request is well formed")).await.expect("the router always answers");
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.to_owned();
    let body = response.into_body().collect().await.expect("the answer is in memory").to_bytes();
    (status, kind, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn an_order_needs_to_say_which_mail_is_meant() {
    let office = Arc::new(Office::default());
    for (body, accepted) in [
        (json!({}), false),
        (json!({ "all": false }), false),
        (json!({ "all": true }), true),
        (json!({ "destination": "Example.ORG" }), true),
        (json!({ "account": "shop" }), true),
        (json!({ "id": MessageId::new(1, [0; 10]) }), true),
        (json!({ "id": "nonsense" }), false),
        (json!({ "all": true, "account": "shop" }), false),
        (json!({ "destination": "no domain" }), false),
        (json!({ "destinaton": "example.org" }), false),
    ] {
        let (status, kind, answer) = call(&office, "POST", "/queue/cancel", Some(body.clone())).await;
        assert_eq!(status == StatusCode::OK, accepted, "{body}: {answer}");
        if !accepted {
            assert_eq!((status, kind.as_str()), (StatusCode::BAD_REQUEST, "application/problem+json"), "{body}");
            assert_eq!(answer["status"], 400, "{body}");
        }
    }
    assert_eq!(office.asked().len(), 4, "what was refused was never asked");
    assert_eq!(office.asked()[1], "cancel Some(\"example.org\")", "a destination is asked for as the queue knows it");
}

#[tokio::test]
async fn each_order_has_its_path() {
    let office = Arc::new(Office::default());
    for order in Order::ALL {
        let path = format!("/queue/{}", order.as_str());
        let (status, _, answer) = call(&office, "POST", &path, Some(json!({ "all": true }))).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({ "deliveries": 3, "in_flight": 0 })));
    }
    assert_eq!(office.asked(), ["hold None", "release None", "retry None", "cancel None"]);
}

#[tokio::test]
async fn the_list_is_fifty_unless_told_otherwise() {
    let office = Arc::new(Office::default());
    call(&office, "GET", "/queue/messages", None).await;
    call(&office, "GET", "/queue/messages?account=shop&after=x&limit=1000", None).await;
    let asked = office.asked();
    assert!(asked[0].contains("all: true") && asked[0].ends_with("None 50"), "{}", asked[0]);
    assert!(asked[1].contains("all: false") && asked[1].ends_with("Some(\"x\") 1000"), "{}", asked[1]);
    for wrong in ["?limit=0", "?limit=1001", "?limit=x", "?lmit=5", "?account=a&destination=b.example"] {
        let (status, ..) = call(&office, "GET", &format!("/queue/messages{wrong}"), None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_refusal_says_whose_fault_it_is_and_no_more() {
    let office = Arc::new(Office::default());
    let id = MessageId::new(1, [0; 10]);
    let (status, kind, answer) = call(&office, "GET", &format!("/messages/{id}"), None).await;
    assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "application/problem+json"));
    assert_eq!(answer, json!({ "title": "Not Found", "status": 404, "detail": "there is no such message" }));
    assert_eq!(call(&office, "GET", "/messages/nonsense", None).await.0, StatusCode::BAD_REQUEST);
    let (status, _, answer) = call(&office, "POST", "/accounts", Some(json!({ "name": "shop" }))).await;
    assert_eq!((status, &answer["detail"]), (StatusCode::CONFLICT, &json!("there is an account of that name")));
    let (status, _, answer) = call(&office, "POST", "/credentials/shop/revoke", None).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.to_string().contains("sda1"), "{answer}");
    let (status, kind, _) = call(&office, "GET", "/nothing", None).await;
    assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "application/problem+json"));
}

#[tokio::test]
async fn names_in_paths_are_decoded() {
    let office = Arc::new(Office::default());
    let (status, _, answer) = call(&office, "POST", "/accounts/my%20shop%2F2/revoke", None).await;
    assert_eq!((status, &answer["name"]), (StatusCode::OK, &json!("my shop/2")));
}

#[tokio::test]
async fn a_message_is_handed_in_with_its_bytes_as_they_are() {
    let office = Arc::new(Office::default());
    let content = BASE64.encode(b"Subject: x\r\n\r\n\xff\r\n");
    let message = json!({ "from": "ada@example.org", "to": ["grace@example.com"], "content_base64": content });
    let (status, _, answer) = call(&office, "POST", "/send", Some(message)).await;
    assert_eq!((status, &answer["recipients"]), (StatusCode::OK, &json!(1)), "{answer}");
    assert!(office.asked()[0].contains("Subject: x\\r\\n"), "{:?}", office.asked());
    let null_sender = json!({ "to": ["grace@example.com"], "content_base64": "" });
    assert_eq!(call(&office, "POST", "/send", Some(null_sender)).await.0, StatusCode::OK);
    for (wrong, told) in [
        (json!({ "to": [], "content_base64": "" }), "at least one recipient"),
        (json!({ "to": ["grace"], "content_base64": "" }), "\"grace\" is no address"),
        (json!({ "from": "a@b@c", "to": ["a@b.example"], "content_base64": "" }), "is no address"),
        (json!({ "to": ["a@b.example"], "content_base64": "!" }), "is no Base64"),
        (json!({ "to": ["a@b.example"] }), "content_base64"),
    ] {
        let (status, _, answer) = call(&office, "POST", "/send", Some(wrong)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{told}: {answer}");
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_as_too_large() {
    let office = Arc::new(Office::default());
    let largest = json!({ "to": ["a@b.example"], "content_base64": BASE64.encode(&vec![b'x'; 3_000_000]) });
    assert_eq!(call(&office, "POST", "/send", Some(largest)).await.0, StatusCode::OK);
    let larger = json!({ "to": ["a@b.example"], "content_base64": BASE64.encode(&vec![b'x'; 4_000_000]) });
    let (status, _, answer) = call(&office, "POST", "/send", Some(larger)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("smtp.message_size_max")), "{answer}");
}

#[test]
fn times_are_written_so_that_programs_read_them() {
    let text = serde_json::to_string(&Time(Timestamp(1_795_321_000_250_000))).expect("a time can be written");
    assert_eq!(text, "\"2026-11-22T04:16:40.25Z\"");
    assert_eq!(serde_json::from_str::<Time>(&text).ok(), Some(Time(Timestamp(1_795_321_000_250_000))));
    assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    assert!(serde_json::from_str::<Time>("\"1969-12-31T00:00:00Z\"").is_err());
}

#[test]
fn a_password_is_not_printed_by_accident() {
    let issued = IssuedCredential { username: "shop-1".into(), password: "hunter2".into(), account: "shop".into() };
    assert!(!format!("{issued:?}").contains("hunter2"));
}
