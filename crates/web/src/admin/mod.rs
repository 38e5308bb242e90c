//! `/api/v1/admin`: what the command line asks of a running server, over the control socket only.
//!
//! There is no login here: the socket is a file that only its owner may open (mode 0600), and who may
//! open it may read the master key as well. This router is never served on a TCP port.

pub mod types;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base::{Address, Domain, MessageId};

use crate::refusal::{JsonRefusal, Refusal};
use crate::site::Answer;
use types::{
    Account, Credential, CredentialQuery, Health, IssuedCredential, MessageStory, NewAccount, NewCredential,
    NewMessage, Order, Ordered, QUEUE_PAGE_DEFAULT, QUEUE_PAGE_MAX, QueuePage, QueueQuery, QueueSummary, Selection,
    Sent,
};

/// A message handed in by the operator, checked.
#[derive(Clone)]
pub struct Submission {
    /// An account's name; `None`: the oldest account that is not revoked.
    pub account: Option<String>,
    pub from: Option<Address>,
    /// At least one.
    pub to: Vec<Address>,
    pub content: Vec<u8>,
}

/// What a running server can be asked. Given from above at start.
///
/// Whoever implements it answers [`Refusal::NotFound`] for an account, a credential or a message that
/// does not exist, and [`Refusal::Unavailable`] while the server is stopping.
pub trait Operations: Send + Sync {
    fn health(&self) -> Answer<'_, Health>;
    fn queue_summary(&self) -> Answer<'_, QueueSummary>;
    /// `selection` has exactly one criterion.
    fn queue_list(&self, selection: Selection, after: Option<String>, limit: u32) -> Answer<'_, QueuePage>;
    /// `selection` has exactly one criterion.
    fn queue_order(&self, order: Order, selection: Selection) -> Answer<'_, Ordered>;
    fn message(&self, id: MessageId) -> Answer<'_, MessageStory>;
    fn accounts(&self) -> Answer<'_, Vec<Account>>;
    fn account_add(&self, new: NewAccount) -> Answer<'_, Account>;
    /// Its mail is refused from now on; what waits is still delivered.
    fn account_revoke(&self, name: String) -> Answer<'_, Account>;
    fn credentials(&self, account: Option<String>) -> Answer<'_, Vec<Credential>>;
    fn credential_add(&self, new: NewCredential) -> Answer<'_, IssuedCredential>;
    fn credential_revoke(&self, username: String) -> Answer<'_, Credential>;
    /// Answers once the message is on stable storage.
    fn send(&self, submission: Submission) -> Answer<'_, Sent>;
}

type Office = State<Arc<dyn Operations>>;
type Reply<T> = Result<Json<T>, JsonRefusal>;

/// The routes. `message_octets_max` is the largest message that `send` takes.
pub fn router(operations: Arc<dyn Operations>, message_octets_max: u64) -> Router {
    // A message as Base64 is a third longer; the rest is the envelope.
    let body_octets_max = usize::try_from(message_octets_max / 3 * 4).unwrap_or(usize::MAX).saturating_add(1 << 20);
    let mut routes = Router::new()
        .route("/health", get(health))
        .route("/queue", get(queue_summary))
        .route("/queue/messages", get(queue_list))
        .route("/messages/{id}", get(message))
        .route("/accounts", get(accounts).post(account_add))
        .route("/accounts/{name}/revoke", post(account_revoke))
        .route("/credentials", get(credentials).post(credential_add))
        .route("/credentials/{username}/revoke", post(credential_revoke))
        .route("/send", post(send).layer(DefaultBodyLimit::max(body_octets_max)));
    for order in Order::ALL {
        let handler =
            move |office: Office, body: Result<Json<Selection>, JsonRejection>| queue_order(order, office, body);
        routes = routes.route(&format!("/queue/{}", order.as_str()), post(handler));
    }
    Router::new()
        .nest("/api/v1/admin", routes.with_state(operations))
        .fallback(|| async { JsonRefusal(Refusal::NotFound("there is no such call".to_owned())) })
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "").into_response() })
        .layer(axum::middleware::from_fn(crate::guard::protect))
}

async fn health(State(office): Office) -> Reply<Health> {
    Ok(Json(office.health().await?))
}

async fn queue_summary(State(office): Office) -> Reply<QueueSummary> {
    Ok(Json(office.queue_summary().await?))
}

async fn queue_list(State(office): Office, query: Result<Query<QueueQuery>, QueryRejection>) -> Reply<QueuePage> {
    let Query(query) = query.map_err(|error| Refusal::Invalid(error.body_text()))?;
    let selection = checked(query.selection())?;
    let limit = query.limit.unwrap_or(QUEUE_PAGE_DEFAULT);
    if !(1..=QUEUE_PAGE_MAX).contains(&limit) {
        return Err(Refusal::Invalid(format!("limit is from 1 to {QUEUE_PAGE_MAX}")).into());
    }
    Ok(Json(office.queue_list(selection, query.after, limit).await?))
}

async fn queue_order(
    order: Order,
    State(office): Office,
    body: Result<Json<Selection>, JsonRejection>,
) -> Reply<Ordered> {
    let selection = checked(json(body)?)?;
    Ok(Json(office.queue_order(order, selection).await?))
}

/// Exactly one criterion, and a destination as the queue knows it (A-labels, lower case).
fn checked(mut selection: Selection) -> Result<Selection, Refusal> {
    if selection.criteria() != 1 {
        let text = "say which mail is meant: exactly one of id, account, destination or all";
        return Err(Refusal::Invalid(text.to_owned()));
    }
    if let Some(destination) = &selection.destination {
        let domain = Domain::parse(destination)
            .map_err(|error| Refusal::Invalid(format!("{destination:?} is no destination: {error}")))?;
        selection.destination = Some(domain.ascii().into_owned());
    }
    Ok(selection)
}

async fn message(State(office): Office, id: Result<Path<MessageId>, PathRejection>) -> Reply<MessageStory> {
    let Path(id) = id.map_err(|_| Refusal::Invalid(base::id::MessageIdError.to_string()))?;
    Ok(Json(office.message(id).await?))
}

async fn accounts(State(office): Office) -> Reply<Vec<Account>> {
    Ok(Json(office.accounts().await?))
}

async fn account_add(State(office): Office, body: Result<Json<NewAccount>, JsonRejection>) -> Reply<Account> {
    Ok(Json(office.account_add(json(body)?).await?))
}

async fn account_revoke(State(office): Office, name: Result<Path<String>, PathRejection>) -> Reply<Account> {
    let Path(name) = name.map_err(|error| Refusal::Invalid(error.body_text()))?;
    Ok(Json(office.account_revoke(name).await?))
}

async fn credentials(
    State(office): Office,
    query: Result<Query<CredentialQuery>, QueryRejection>,
) -> Reply<Vec<Credential>> {
    let Query(query) = query.map_err(|error| Refusal::Invalid(error.body_text()))?;
    Ok(Json(office.credentials(query.account).await?))
}

async fn credential_add(
    State(office): Office,
    body: Result<Json<NewCredential>, JsonRejection>,
) -> Reply<IssuedCredential> {
    Ok(Json(office.credential_add(json(body)?).await?))
}

async fn credential_revoke(State(office): Office, username: Result<Path<String>, PathRejection>) -> Reply<Credential> {
    let Path(username) = username.map_err(|error| Refusal::Invalid(error.body_text()))?;
    Ok(Json(office.credential_revoke(username).await?))
}

async fn send(State(office): Office, body: Result<Json<NewMessage>, JsonRejection>) -> Reply<Sent> {
    let new = json(body)?;
    let address = |text: &String| {
        Address::parse(text).map_err(|error| Refusal::Invalid(format!("{text:?} is no address: {error}")))
    };
    let from = new.from.as_ref().map(address).transpose()?;
    let to = new.to.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    if to.is_empty() {
        return Err(Refusal::Invalid("a message needs at least one recipient".to_owned()).into());
    }
    let content = data_encoding::BASE64
        .decode(new.content_base64.as_bytes())
        .map_err(|error| Refusal::Invalid(format!("content_base64 is no Base64: {error}")))?;
    Ok(Json(office.send(Submission { account: new.account, from, to, content }).await?))
}

fn json<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    match body {
        Ok(Json(value)) => Ok(value),
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::TooLarge("the message is larger than smtp.message_size_max".to_owned()))
        }
        Err(error) => Err(Refusal::Invalid(error.body_text())),
    }
}
