use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use accept::Directory as _;
use base::{AccountId, Actor, Enhanced, Secret, SystemClock};
use service::accounts::{Accounts, AccountsError};
use service::directory::{Directory, Standing};
use store::Store;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::kit::{address, open_store, operator, until};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct World {
    files: TempDir,
    store: Store,
    directory: Arc<Directory>,
    accounts: Accounts,
}

impl World {
    async fn new() -> World {
        let files = tempfile::tempdir().unwrap();
        let store = open_store(files.path());
        let directory = Directory::load(store.clone(), Arc::new(SystemClock)).await.unwrap();
        let accounts = Accounts::new(store.clone(), Arc::clone(&directory), Arc::new(SystemClock));
        accounts.account_add(operator(), "ada").await.unwrap();
        accounts.account_add(operator(), "bob").await.unwrap();
        World { files, store, directory, accounts }
    }

    fn logs_in(&self, username: &str, secret: &Secret) -> Option<accept::Principal> {
        self.directory.authenticate(username, secret, CLIENT)
    }
}

#[tokio::test]
async fn a_new_credential_logs_in_at_once() {
    let world = World::new().await;
    let issued = world.accounts.credential_add(operator(), "ada", None, "web shop").await.unwrap();
    let username = &issued.credential.username;
    assert!(username.starts_with("ada-") && username.len() == 10, "{username}");
    assert_eq!(issued.secret.expose_secret().len(), 32);

    let principal = world.logs_in(username, &issued.secret).unwrap();
    assert_eq!((principal.account, &*principal.name), (issued.credential.account, "ada"));
    assert_eq!(principal.credential, Some(issued.credential.id));
    assert_eq!(world.directory.may_send(&principal, Some(&address("any@where.example"))), Ok(()));

    assert!(world.logs_in(username, &Secret::from("wrong")).is_none());
    assert!(world.logs_in("nobody", &issued.secret).is_none());
    assert!(world.logs_in("", &Secret::from("")).is_none());
    assert!(world.logs_in(&username.to_uppercase(), &issued.secret).is_none());
}

#[tokio::test]
async fn a_revoked_credential_is_refused_also_in_open_sessions() {
    let world = World::new().await;
    let kept = world.accounts.credential_add(operator(), "ada", Some("shop"), "").await.unwrap();
    let lost = world.accounts.credential_add(operator(), "ada", Some("laptop"), "").await.unwrap();
    let session = world.logs_in("laptop", &lost.secret).unwrap();
    world.accounts.credential_revoke(operator(), "laptop").await.unwrap();
    assert!(world.logs_in("laptop", &lost.secret).is_none());
    let reply = world.directory.may_send(&session, None).unwrap_err();
    assert_eq!((reply.code, reply.enhanced), (550, Some(Enhanced(5, 7, 1))));
    assert!(world.logs_in("shop", &kept.secret).is_some());
}

#[tokio::test]
async fn a_revoked_account_is_refused_and_can_be_restored() {
    let world = World::new().await;
    let issued = world.accounts.credential_add(operator(), "ada", Some("shop"), "").await.unwrap();
    let session = world.logs_in("shop", &issued.secret).unwrap();
    let revoked = world.accounts.account_revoke(operator(), "ada").await.unwrap();
    assert!(revoked.suspended_at.is_some());
    assert!(world.logs_in("shop", &issued.secret).is_none());
    assert!(world.directory.may_send(&session, None).is_err());
    assert_eq!(world.directory.standing(revoked.id, None), Standing::AccountRevoked);
    assert_eq!(world.directory.standing(AccountId(99), None), Standing::AccountRevoked, "nobody's mail is not taken");
    assert_eq!(world.directory.standing(AccountId::INSTANCE, None), Standing::Good);
    world.accounts.account_restore(operator(), "ada").await.unwrap();
    assert!(world.logs_in("shop", &issued.secret).is_some());
    assert_eq!(world.directory.may_send(&session, None), Ok(()));
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let world = World::new().await;
    let accounts = &world.accounts;
    assert!(matches!(accounts.account_add(operator(), "ada").await, Err(AccountsError::Taken(_))));
    assert!(matches!(accounts.account_add(operator(), "Ada Ltd.").await, Err(AccountsError::Invalid(_))));
    assert!(matches!(accounts.account_revoke(operator(), "carol").await, Err(AccountsError::Unknown(_))));
    let none = accounts.credential_add(operator(), "carol", None, "").await;
    assert_eq!(none.unwrap_err().to_string(), "there is no account carol");
    let address = accounts.credential_add(operator(), "ada", Some("ada@example.org"), "").await;
    assert!(matches!(address, Err(AccountsError::Invalid(_))));
    accounts.credential_add(operator(), "ada", Some("shop"), "").await.unwrap();
    let twice = accounts.credential_add(operator(), "bob", Some("shop"), "").await;
    assert_eq!(twice.unwrap_err().to_string(), "the user name shop is taken; choose another name");
    assert!(matches!(accounts.credential_revoke(operator(), "shed").await, Err(AccountsError::Unknown(_))));
}

#[tokio::test]
async fn an_account_manages_its_own_credentials_only() {
    let world = World::new().await;
    let issued = world.accounts.credential_add(operator(), "ada", Some("shop"), "").await.unwrap();
    let bob = Actor::Account(AccountId(2)).scope();
    assert!(matches!(world.accounts.credential_add(bob, "ada", None, "").await, Err(AccountsError::Unknown(_))));
    assert!(matches!(world.accounts.credential_revoke(bob, "shop").await, Err(AccountsError::Unknown(_))));
    assert!(matches!(world.accounts.credential_list(bob, Some("ada")).await, Err(AccountsError::Unknown(_))));
    assert!(world.accounts.credential_list(bob, None).await.unwrap().is_empty());
    assert!(world.logs_in("shop", &issued.secret).is_some());
    assert!(world.accounts.credential_add(bob, "bob", None, "").await.is_ok());
}

#[tokio::test]
async fn a_change_by_another_process_comes_into_force() {
    let world = World::new().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let directory = Arc::clone(&world.directory);
    let running = tokio::spawn(async move {
        directory.run(async { drop(stopped.await) }).await;
    });
    let theirs = open_store(world.files.path());
    let their_directory = Directory::load(theirs.clone(), Arc::new(SystemClock)).await.unwrap();
    let other = Accounts::new(theirs, their_directory, Arc::new(SystemClock));
    let issued = other.credential_add(operator(), "bob", Some("their"), "").await.unwrap();
    until("the new credential logs in", async || world.logs_in("their", &issued.secret).is_some()).await;
    // At the end it is noted that it was used.
    drop(stop);
    running.await.unwrap();
    let listed = world.accounts.credential_list(operator(), Some("bob")).await.unwrap();
    assert!(listed[0].last_used.is_some());
}

#[tokio::test]
async fn logins_go_on_when_the_database_is_gone() {
    let world = World::new().await;
    let issued = world.accounts.credential_add(operator(), "ada", Some("shop"), "").await.unwrap();
    world.store.close().await;
    assert!(world.directory.reload().await.is_err());
    assert!(world.logs_in("shop", &issued.secret).is_some());
    assert!(world.logs_in("shop", &Secret::from("wrong")).is_none());
}
