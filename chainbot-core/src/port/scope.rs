//! Whose objects a question to the store is about. Plain data and the rule that decides who sees what.
//!
//! Invariants: every question about what belongs to somebody takes a [`Scope`]; whoever is outside of it finds nothing, as if there
//! were nothing. A workflow is somebody's; its runs, their questions and their messages are found through it. The rule is
//! here and, as SQL, in `store/sqlite/scope.rs`; a test compares the two over every combination. Nothing here does IO.

use super::Role;
use crate::id::UserId;

/// Whose objects a question is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// All of them: the machine itself, and whoever holds the token of the data folder.
    All,
    /// Those that somebody may see.
    Of {
        /// Who; `None` is what the operator's own workflows use.
        user: Option<UserId>,
        /// As it is now.
        role: Role,
    },
}

/// Whose something is, and who may see it besides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Possession {
    /// `None` is the operator.
    pub owner: Option<UserId>,
    /// The least role that sees and uses it; `None` is nobody but the owner and admins.
    pub shared: Option<Role>,
}

impl Possession {
    /// The operator's, for everybody to see and use as their role lets them.
    pub const HOUSE: Possession = Possession { owner: None, shared: Some(Role::Viewer) };
}

impl Scope {
    /// What a workflow may use by name. Only an editor can have written it, and it acts for nobody else than its owner.
    pub fn of_workflow(of: &Possession) -> Self {
        Self::Of { user: of.owner, role: Role::Editor }
    }

    /// Whether there is nothing that is not seen.
    pub fn is_whole(&self) -> bool {
        matches!(self, Scope::All | Scope::Of { role: Role::Admin, .. })
    }

    /// Whether something is there for them at all.
    pub fn sees(&self, of: &Possession) -> bool {
        match self {
            Scope::All => true,
            Scope::Of { role: Role::Admin, .. } => true,
            Scope::Of { user, role } => *user == of.owner || of.shared.is_some_and(|least| least <= *role),
        }
    }

    /// Whether they may change it, as far as their role lets them change anything: what is the operator's is the house's, what is
    /// shared by a user is to be seen and used.
    pub fn may_change(&self, of: &Possession) -> bool {
        self.is_whole() || (self.sees(of) && (of.owner.is_none() || self.user() == of.owner))
    }

    /// Whether they may say who else sees it.
    pub fn may_share(&self, of: &Possession) -> bool {
        self.is_whole() || (of.owner.is_some() && self.user() == of.owner)
    }

    /// Who asks; the operator, where it is nobody.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Scope::All => None,
            Scope::Of { user, .. } => *user,
        }
    }

    /// Whose something is that they make: an admin acts for the operator, what others make is their own.
    pub fn makes(&self) -> Possession {
        match self.user().filter(|_| !self.is_whole()) {
            None => Possession::HOUSE,
            owner => Possession { owner, shared: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIA: UserId = UserId(uuid::Uuid::from_bytes([1; 16]));
    const TOM: UserId = UserId(uuid::Uuid::from_bytes([2; 16]));

    /// Every scope that there is, of two people.
    fn scopes() -> Vec<Scope> {
        let of = |user| Role::ALL.into_iter().map(move |role| Scope::Of { user, role });
        std::iter::once(Scope::All).chain([None, Some(MIA), Some(TOM)].into_iter().flat_map(of)).collect()
    }

    fn possessions() -> Vec<Possession> {
        let shared = || std::iter::once(None).chain(Role::ALL.map(Some));
        let of = |owner| shared().map(move |shared| Possession { owner, shared });
        [None, Some(MIA), Some(TOM)].into_iter().flat_map(of).collect()
    }

    /// The rule in words, written a second time: who is whole, who owns, to whom it was given.
    fn table(scope: &Scope, of: &Possession) -> (bool, bool, bool) {
        let Scope::Of { user, role } = scope else { return (true, true, true) };
        let rank = |role: Role| Role::ALL.iter().position(|one| *one == role);
        let (is_admin, is_own) = (*role == Role::Admin, of.owner == *user);
        let is_given = of.shared.is_some() && rank(*role) >= of.shared.and_then(rank);
        let sees = is_admin || is_own || is_given;
        (sees, is_admin || is_own || (of.owner.is_none() && is_given), is_admin || (is_own && user.is_some()))
    }

    #[test]
    fn the_rule_holds_for_every_scope_and_every_possession() {
        let mut seen = 0;
        for scope in scopes() {
            for of in possessions() {
                let got = (scope.sees(&of), scope.may_change(&of), scope.may_share(&of));
                assert_eq!(got, table(&scope, &of), "{scope:?} and {of:?}");
                // Nobody changes or shares what is not there for them.
                assert!(got.0 || (!got.1 && !got.2), "{scope:?} and {of:?}");
                seen += usize::from(got.0);
            }
        }
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn what_somebody_makes_is_seen_by_them_and_by_admins_alone_until_they_share_it() {
        let mia = Scope::Of { user: Some(MIA), role: Role::Editor };
        let made = mia.makes();
        let others = scopes().into_iter().filter(|scope| scope.user() != Some(MIA) && !scope.is_whole());
        assert!(mia.sees(&made) && mia.may_share(&made) && others.clone().all(|scope| !scope.sees(&made)));
        let given = Possession { shared: Some(Role::Viewer), ..made };
        assert!(others.clone().all(|scope| scope.sees(&given) && !scope.may_change(&given)));
        // An admin acts for the house.
        assert_eq!(Scope::Of { user: Some(TOM), role: Role::Admin }.makes(), Possession::HOUSE);
        assert_eq!(Scope::All.makes(), Possession::HOUSE);
    }

    #[test]
    fn a_workflow_uses_what_its_owner_sees_and_the_operators_no_users_things() {
        let private = Possession { owner: Some(MIA), shared: None };
        assert!(
            Scope::of_workflow(&private).sees(&private)
                && Scope::of_workflow(&private).sees(&Possession::HOUSE)
        );
        assert!(!Scope::of_workflow(&Possession::HOUSE).sees(&private));
        assert!(!Scope::of_workflow(&Possession { owner: Some(TOM), shared: None }).sees(&private));
    }
}
