use std::os::unix::fs::PermissionsExt;

use base::{Actor, Scope, Secret};
use store::{Day, NewCredential, StoreError};

use crate::kit::{ADA, BOB, NEW_YEAR, World, at, open, operator};

fn credential(account: base::AccountId, username: &str) -> NewCredential {
    NewCredential {
        account,
        username: username.into(),
        secret: Secret::from("0123456789abcdef0123456789abcdef"),
        label: "web shop".into(),
        created_at: NEW_YEAR,
    }
}

async fn two_accounts() -> World {
    let world = World::new();
    assert_eq!(world.store.account_add(operator(), "ada", NEW_YEAR).await.unwrap().id, ADA);
    assert_eq!(world.store.account_add(operator(), "bob", NEW_YEAR).await.unwrap().id, BOB);
    world
}

#[tokio::test]
async fn the_directory_has_all_and_its_revision_grows_with_each_change() {
    let world = two_accounts().await;
    let store = &world.store;
    let before = store.directory_revision(operator()).await.unwrap();
    let added = store.credential_add(operator(), credential(ADA, "ada-1")).await.unwrap().unwrap();
    assert_eq!((added.account, &*added.label, added.revoked_at), (ADA, "web shop", None));
    let rows = store.directory(operator()).await.unwrap();
    assert!(rows.revision > before);
    assert_eq!(rows.accounts.len(), 2);
    let (listed, hash) = &rows.credentials[0];
    assert_eq!(*listed, added);
    assert!(*hash == store.secret_hash("ada-1", &Secret::from("0123456789abcdef0123456789abcdef")));
    assert!(*hash != store.secret_hash("ada-1", &Secret::from("0123456789abcdef0123456789abcdee")));
    assert!(*hash != store.secret_hash("ada-2", &Secret::from("0123456789abcdef0123456789abcdef")));

    let quiet = rows.revision;
    store.credential_used(operator(), vec![(added.id, Day(20_500))]).await.unwrap();
    store.credential_used(operator(), vec![(added.id, Day(20_400))]).await.unwrap();
    assert_eq!(store.credential_list(operator(), None).await.unwrap()[0].last_used, Some(Day(20_500)));
    assert_eq!(store.directory_revision(operator()).await.unwrap(), quiet, "a login is no change");

    let revoked = store.credential_revoke(operator(), "ada-1", at(5)).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)));
    let again = store.credential_revoke(operator(), "ada-1", at(9)).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, Some(at(5)), "it was revoked once");
    store.account_suspend(operator(), ADA, at(6)).await.unwrap().unwrap();
    let again = store.account_suspend(operator(), ADA, at(7)).await.unwrap().unwrap();
    assert_eq!(again.suspended_at, Some(at(6)), "it was suspended once");
    let rows = store.directory(operator()).await.unwrap();
    assert!(rows.revision > quiet);
    assert_eq!(rows.accounts[0].suspended_at, Some(at(6)));
    let restored = store.account_restore(operator(), ADA).await.unwrap().unwrap();
    assert_eq!(restored.suspended_at, None);
    assert!(store.account_restore(operator(), base::AccountId(99)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_name_is_given_once() {
    let world = two_accounts().await;
    let error = world.store.account_add(operator(), "ada", NEW_YEAR).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "an account" }));
    world.store.credential_add(operator(), credential(ADA, "x-1")).await.unwrap();
    let error = world.store.credential_add(operator(), credential(BOB, "x-1")).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "a credential" }));
    assert!(world.store.credential_add(operator(), credential(base::AccountId(99), "y-1")).await.unwrap().is_none());
}

#[tokio::test]
async fn anothers_credential_is_an_absent_one() {
    let world = two_accounts().await;
    let store = &world.store;
    store.credential_add(operator(), credential(ADA, "ada-1")).await.unwrap();
    let bob = Actor::Account(BOB).scope();
    assert!(store.credential_list(bob, None).await.unwrap().is_empty());
    assert!(store.credential_list(bob, Some(ADA)).await.unwrap().is_empty());
    assert!(store.credential_revoke(bob, "ada-1", at(1)).await.unwrap().is_none());
    assert!(store.credential_add(bob, credential(ADA, "ada-2")).await.unwrap().is_none());
    assert!(store.account_find(bob, "ada").await.unwrap().is_none());
    assert_eq!(store.account_list(bob).await.unwrap().len(), 1);
    assert!(matches!(store.directory(bob).await, Err(StoreError::InstanceOnly)));
    assert!(matches!(store.account_add(Scope::account(BOB), "c", at(1)).await, Err(StoreError::InstanceOnly)));
    let kept = store.credential_list(operator(), Some(ADA)).await.unwrap();
    assert_eq!((kept.len(), kept[0].revoked_at), (1, None));
}

#[tokio::test]
async fn settings_are_kept() {
    let world = World::new();
    assert_eq!(world.store.setting_find(operator(), "mode").await.unwrap(), None);
    world.store.setting_put(operator(), "mode", "sandbox").await.unwrap();
    world.store.setting_put(operator(), "mode", "live").await.unwrap();
    world.store.close().await;
    assert!(matches!(world.store.setting_find(operator(), "mode").await, Err(StoreError::Closed)));
    let reopened = open(world.directory.path());
    assert_eq!(reopened.setting_find(operator(), "mode").await.unwrap().as_deref(), Some("live"));
}

#[tokio::test]
async fn the_files_are_for_the_owner_alone() {
    let world = two_accounts().await;
    let mut seen = 0;
    for entry in std::fs::read_dir(world.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        seen += 1;
    }
    assert_eq!(seen, 3, "the database, -wal and -shm");
}

#[tokio::test]
async fn changes_by_another_process_are_seen_in_the_revision() {
    let world = two_accounts().await;
    let other = open(world.directory.path());
    let before = world.store.directory_revision(operator()).await.unwrap();
    other.account_add(operator(), "carol", at(1)).await.unwrap();
    assert!(world.store.directory_revision(operator()).await.unwrap() > before);
}
