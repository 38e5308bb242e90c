//! Whose objects a call may touch. Every call to the store names its scope, so that a tenant's
//! border is a type and not a `WHERE` that somebody may forget.

use crate::AccountId;

/// Who asks, after he has been authenticated. It is made at the edges only: by the login of a door
/// or of the API, by the control socket, and by the tasks of the server itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Who runs the instance, through the control socket (its file mode is the authentication).
    Operator,
    /// A program or a person of this account.
    Account(AccountId),
    /// A task of the server itself: the projector, the sandbox, the directory.
    Server,
}

impl Actor {
    pub fn scope(self) -> Scope {
        match self {
            Actor::Operator | Actor::Server => Scope(Extent::Instance),
            Actor::Account(account) => Scope(Extent::Account(account)),
        }
    }
}

/// What an [`Actor`] may see. Another account's object answers exactly as an absent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(Extent);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Extent {
    Account(AccountId),
    Instance,
}

impl Scope {
    /// One account's own objects; anybody may narrow himself to that.
    pub fn account(account: AccountId) -> Scope {
        Scope(Extent::Account(account))
    }

    pub fn covers(self, account: AccountId) -> bool {
        match self.0 {
            Extent::Account(own) => own == account,
            Extent::Instance => true,
        }
    }

    /// The one account it is limited to; `None` is the whole instance.
    pub fn only(self) -> Option<AccountId> {
        match self.0 {
            Extent::Account(own) => Some(own),
            Extent::Instance => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_sees_itself_and_the_operator_sees_all() {
        let ada = Actor::Account(AccountId(1)).scope();
        assert!(ada.covers(AccountId(1)) && !ada.covers(AccountId(2)));
        assert!(!ada.covers(AccountId::INSTANCE), "the instance's own mail is nobody's");
        assert!(Actor::Operator.scope().covers(AccountId(2)));
        assert_eq!(Actor::Server.scope().only(), None);
        assert_eq!(ada, Scope::account(AccountId(1)));
    }
}
