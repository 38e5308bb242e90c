//! `postrider account` and `postrider credential`: through the running server where there is one, else
//! straight in the database.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use base::{Actor, Scope, SystemClock};
use service::accounts::{Accounts, AccountsError};
use service::directory::Directory;
use store::Store;
use web::admin::types::{Account, Credential, IssuedCredential, NewAccount, NewCredential};

use super::args::{AccountCommand, CredentialCommand};
use super::failure::{Code, Failure};
use super::output::{Align, Printed, Style, Table, Tone, moment};
use crate::config::Config;
use crate::control::{Control, escaped};
use crate::serve;

pub async fn account(command: AccountCommand, office: &Office, style: Style) -> Result<Printed, Failure> {
    match command {
        AccountCommand::Add { name } => {
            let added = office.account_add(&name).await?;
            let text = format!(
                "account {} made; now make a credential for it: postrider credential add {}\n",
                added.name, added.name
            );
            Ok(Printed::new(&added, text))
        }
        AccountCommand::List => {
            let accounts = office.accounts().await?;
            Ok(Printed::new(&accounts, account_list(&accounts, style)))
        }
        AccountCommand::Revoke { name } => {
            let revoked = office.account_revoke(&name).await?;
            let text = format!(
                "account {} revoked: its mail is refused from now on; what waits is still delivered\n",
                revoked.name
            );
            Ok(Printed::new(&revoked, text))
        }
    }
}

pub async fn credential(command: CredentialCommand, office: &Office, style: Style) -> Result<Printed, Failure> {
    match command {
        CredentialCommand::Add { account, username, label } => {
            let issued = office.credential_add(NewCredential { account, username, label }).await?;
            let text = format!(
                "username  {}\npassword  {}\n\nThe password is shown this once; it cannot be read again.\n",
                issued.username, issued.password
            );
            Ok(Printed::new(&issued, text))
        }
        CredentialCommand::List { account } => {
            let credentials = office.credentials(account).await?;
            Ok(Printed::new(&credentials, credential_list(&credentials, style)))
        }
        CredentialCommand::Revoke { username } => {
            let revoked = office.credential_revoke(&username).await?;
            let text = format!("credential {} revoked: it is refused from now on\n", revoked.username);
            Ok(Printed::new(&revoked, text))
        }
    }
}

fn account_list(accounts: &[Account], style: Style) -> String {
    if accounts.is_empty() {
        return "there is no account yet; make one with `postrider account add NAME`\n".to_owned();
    }
    let columns = [("account", Align::Left), ("id", Align::Right), ("made", Align::Left), ("state", Align::Left)];
    let mut table = Table::new(&columns);
    for account in accounts {
        let (tone, state) = match account.revoked_at {
            Some(at) => (Tone::Bad, format!("revoked {}", moment(at.0))),
            None => (Tone::Good, "active".to_owned()),
        };
        table.row([
            (Tone::Plain, account.name.clone()),
            (Tone::Plain, account.id.to_string()),
            (Tone::Plain, moment(account.created_at.0)),
            (tone, state),
        ]);
    }
    table.render(style)
}

fn credential_list(credentials: &[Credential], style: Style) -> String {
    if credentials.is_empty() {
        return "there is no credential; make one with `postrider credential add ACCOUNT`\n".to_owned();
    }
    let mut table = Table::new(&[
        ("username", Align::Left),
        ("account", Align::Left),
        ("made", Align::Left),
        ("last used", Align::Left),
        ("state", Align::Left),
        ("label", Align::Left),
    ]);
    for credential in credentials {
        let (tone, state) = match credential.revoked_at {
            Some(at) => (Tone::Bad, format!("revoked {}", moment(at.0))),
            None => (Tone::Good, "active".to_owned()),
        };
        table.row([
            (Tone::Plain, credential.username.clone()),
            (Tone::Plain, credential.account.clone()),
            (Tone::Plain, moment(credential.created_at.0)),
            (Tone::Plain, credential.last_used.clone().unwrap_or_else(|| "never".to_owned())),
            (tone, state),
            (Tone::Quiet, credential.label.clone()),
        ]);
    }
    table.render(style)
}

/// What a command wants of an instance that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// It is to be there.
    Look,
    /// It is made if it is not there.
    Make,
}

/// What root makes in the server's directory, the server could not read.
fn check_owner(data: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(data) else { return Ok(()) };
    if metadata.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let text = format!("{} belongs to another user", data.display());
    Err(Failure::failed(text).advise("Run the command as that user: sudo -u NAME postrider …"))
}

/// Where accounts are kept: asked through the server that runs, so that it knows at once, or
/// opened here.
pub enum Office {
    Running(Control),
    Stopped { accounts: Accounts, store: Store },
}

impl Office {
    /// # Errors
    /// When there is no server, and the database cannot be opened either.
    pub async fn open(config: &Config, errand: Errand) -> Result<Office, Failure> {
        let control = Control::new(&config.data);
        if control.is_running().await {
            return Ok(Office::Running(control));
        }
        check_owner(&config.data)?;
        if errand == Errand::Look && !config.database().exists() {
            let text = format!("there is no instance in {}", config.data.display());
            return Err(
                Failure::new(Code::NotFound, text).advise("Name its directory with --data or its file with --config.")
            );
        }
        for directory in [&config.data, &config.store] {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
                Failure::failed(format!("cannot make the directory {}: {error}", directory.display()))
                    .advise("Run the command as the user that runs the server, or name another directory with --data.")
            })?;
        }
        let key = serve::master_key(&config.data)?;
        let store = Store::open(&config.database(), &key).map_err(|error| Failure::failed(error.to_string()))?;
        let clock = Arc::new(SystemClock);
        let directory = Directory::load(store.clone(), clock.clone()).await;
        let directory = directory.map_err(|error| Failure::failed(error.to_string()))?;
        let accounts = Accounts::new(store.clone(), directory, clock);
        Ok(Office::Stopped { accounts, store })
    }

    /// Lets what was written reach the disk.
    pub async fn close(self) {
        match self {
            Office::Running(_) => {}
            Office::Stopped { store, .. } => store.close().await,
        }
    }

    async fn accounts(&self) -> Result<Vec<Account>, Failure> {
        match self {
            Office::Running(control) => control.get("/accounts").await,
            Office::Stopped { accounts, .. } => {
                let found = accounts.account_list(operator()).await.map_err(of_accounts)?;
                Ok(found.into_iter().map(as_account).collect())
            }
        }
    }

    async fn account_add(&self, name: &str) -> Result<Account, Failure> {
        match self {
            Office::Running(control) => control.post("/accounts", &NewAccount { name: name.to_owned() }).await,
            Office::Stopped { accounts, .. } => {
                Ok(as_account(accounts.account_add(operator(), name).await.map_err(of_accounts)?))
            }
        }
    }

    async fn account_revoke(&self, name: &str) -> Result<Account, Failure> {
        match self {
            Office::Running(control) => control.post(&format!("/accounts/{}/revoke", escaped(name)), &()).await,
            Office::Stopped { accounts, .. } => {
                Ok(as_account(accounts.account_revoke(operator(), name).await.map_err(of_accounts)?))
            }
        }
    }

    async fn credentials(&self, account: Option<String>) -> Result<Vec<Credential>, Failure> {
        match self {
            Office::Running(control) => {
                let query = account.map(|name| format!("?account={}", escaped(&name))).unwrap_or_default();
                control.get(&format!("/credentials{query}")).await
            }
            Office::Stopped { accounts, .. } => {
                let found = accounts.credential_list(operator(), account.as_deref()).await.map_err(of_accounts)?;
                let names = self.accounts().await?;
                Ok(found.into_iter().map(|credential| as_credential(credential, &names)).collect())
            }
        }
    }

    async fn credential_add(&self, new: NewCredential) -> Result<IssuedCredential, Failure> {
        match self {
            Office::Running(control) => control.post("/credentials", &new).await,
            Office::Stopped { accounts, .. } => {
                let issued = accounts
                    .credential_add(operator(), &new.account, new.username.as_deref(), &new.label)
                    .await
                    .map_err(of_accounts)?;
                Ok(IssuedCredential {
                    username: issued.credential.username.into(),
                    password: String::from_utf8_lossy(issued.secret.expose_secret()).into_owned(),
                    account: new.account,
                })
            }
        }
    }

    async fn credential_revoke(&self, username: &str) -> Result<Credential, Failure> {
        match self {
            Office::Running(control) => control.post(&format!("/credentials/{}/revoke", escaped(username)), &()).await,
            Office::Stopped { accounts, .. } => {
                let revoked = accounts.credential_revoke(operator(), username).await.map_err(of_accounts)?;
                Ok(as_credential(revoked, &self.accounts().await?))
            }
        }
    }
}

/// Who can read the master key is the operator.
fn operator() -> Scope {
    Actor::Operator.scope()
}

fn of_accounts(error: AccountsError) -> Failure {
    match error {
        AccountsError::Unknown(_) => Failure::new(Code::NotFound, error.to_string()),
        AccountsError::Store(_) | AccountsError::Taken(_) | AccountsError::Invalid(_) => {
            Failure::failed(error.to_string())
        }
    }
}

fn as_account(account: store::Account) -> Account {
    Account {
        id: account.id.0,
        name: account.name.into(),
        created_at: account.created_at.into(),
        revoked_at: account.suspended_at.map(Into::into),
    }
}

fn as_credential(credential: store::Credential, accounts: &[Account]) -> Credential {
    let owner = accounts.iter().find(|account| account.id == credential.account.0);
    Credential {
        username: credential.username.into(),
        account: owner.map_or_else(|| credential.account.to_string(), |account| account.name.clone()),
        label: credential.label.into(),
        created_at: credential.created_at.into(),
        revoked_at: credential.revoked_at.map(Into::into),
        last_used: credential.last_used.map(|day| day.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::{Purpose, Sources};

    use super::*;

    fn config(data: PathBuf) -> Config {
        let sources = Sources {
            purpose: Purpose::Serve,
            file: None,
            data: Some(data),
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            machine_name: "mail.example.org".into(),
        };
        Config::load(&sources).expect("the configuration is right")
    }

    #[tokio::test]
    async fn accounts_and_credentials_need_no_running_server() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let config = config(directory.path().join("data"));
        let absent = Office::open(&config, Errand::Look).await.map(|_| ()).expect_err("nothing is made by looking");
        assert_eq!(absent.code(), Code::NotFound);
        assert!(!config.data.exists());
        let office = Office::open(&config, Errand::Make).await.expect("the database can be made");
        let style = Style::PLAIN;

        let none = account(AccountCommand::List, &office, style).await.expect("a list");
        assert!(none.text.contains("postrider account add NAME"), "{}", none.text);
        let add = || AccountCommand::Add { name: "shop".into() };
        account(add(), &office, style).await.expect("the name is free");
        assert_eq!(account(add(), &office, style).await.expect_err("it is taken").code(), Code::Failed);

        let new = CredentialCommand::Add { account: "shop".into(), username: None, label: "web shop".into() };
        let issued = credential(new, &office, style).await.expect("the account exists");
        let password = issued.json["password"].as_str().expect("a password").to_owned();
        assert!(password.len() >= 22 && issued.text.contains(&password), "{}", issued.text);

        let list = credential(CredentialCommand::List { account: None }, &office, style).await.expect("a list");
        assert!(list.text.contains("shop") && list.text.contains("never") && !list.text.contains(&password));
        let username = list.json[0]["username"].as_str().expect("a name").to_owned();
        credential(CredentialCommand::Revoke { username }, &office, style).await.expect("it exists");
        let list = credential(CredentialCommand::List { account: Some("shop".into()) }, &office, style).await;
        assert!(list.expect("a list").text.contains("revoked"));

        let unknown = AccountCommand::Revoke { name: "nobody".into() };
        assert_eq!(account(unknown, &office, style).await.expect_err("there is none").code(), Code::NotFound);
        office.close().await;
    }
}
