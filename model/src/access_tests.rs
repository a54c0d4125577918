use super::*;

fn caller(role: Role, scope: Scope) -> Caller {
    let roles = [role].into_iter().collect();
    Caller { subject: "ada".to_owned(), kind: CallerKind::Person, roles, scope }
}

#[test]
fn roles_include_what_the_documentation_says() {
    let table = |role: Role| {
        let of = Action::ALL.into_iter().filter(|action| role.allows(*action));
        of.map(Action::words).collect::<Vec<_>>()
    };
    let seen = ["ask who this is", "see jobs", "see costs", "see pools and machines"];
    let with = |more: &[&'static str]| [&seen[..], more].concat();
    assert_eq!(table(Role::Viewer), with(&[]));
    let runs = ["submit jobs", "change jobs", "change budgets", "cancel jobs"];
    assert_eq!(table(Role::Submitter), with(&runs));
    assert_eq!(
        table(Role::Approver),
        with(&["change budgets", "freeze buying", "read the audit log"])
    );
    let keeps = ["cancel jobs", "drain machines", "freeze buying", "read the audit log"];
    assert_eq!(table(Role::Operator), with(&keeps));
    assert_eq!(table(Role::Admin).len(), Action::ALL.len());
}

#[test]
fn what_is_of_another_team_does_not_exist() {
    for role in Role::ALL {
        let scoped = caller(role, Scope::of(["vision"]));
        for action in Action::ALL {
            for team in [Some("speech"), None] {
                let answer = authorize(&scoped, action, Resource::OfTeam(team));
                assert_eq!(answer, Err(Denied::Foreign), "{role} {action:?} {team:?}");
            }
            let own = authorize(&scoped, action, Resource::OfTeam(Some("vision")));
            assert_eq!(own.is_ok(), role.allows(action), "{role} {action:?}");
            let all = caller(role, Scope::default());
            for team in [Some("speech"), None] {
                let answer = authorize(&all, action, Resource::OfTeam(team));
                assert_eq!(answer.is_ok(), role.allows(action), "{role} {action:?} {team:?}");
            }
        }
    }
}

#[test]
fn what_all_share_takes_a_caller_of_all_teams() {
    let scoped = caller(Role::Admin, Scope::of(["vision"]));
    let answer = authorize(&scoped, Action::DrainMachines, Resource::Shared);
    assert_eq!(
        answer.unwrap_err().to_string(),
        "ada may not drain machines: that concerns more than vision"
    );
    let viewer = caller(Role::Viewer, Scope::default());
    assert_eq!(
        authorize(&viewer, Action::CancelJobs, Resource::Own).unwrap_err().to_string(),
        "ada may not cancel jobs: that takes the role submitter or operator or admin"
    );
}

#[test]
fn nobody_covers_more_than_he_has() {
    let (all, both) = (Scope::default(), Scope::of(["speech", "vision"]));
    let one = Scope::of(["vision"]);
    assert!(all.covers(&both) && all.covers(&all) && both.covers(&one) && one.covers(&one));
    assert!(!one.covers(&both) && !both.covers(&all) && !one.covers(&Scope::of(["speech"])));
    let nobody = Scope::of::<String>([]);
    assert!(one.covers(&nobody) && !nobody.includes(None) && !nobody.includes(Some("vision")));
}
