use spotwise_model::access::Role;

use super::*;
use crate::service::testing::Bench;

fn call(from: [u8; 4], token: &str) -> Request<()> {
    let request = Request::builder().uri("/api/v1/jobs");
    let mut request = request.header("authorization", format!("Bearer {token}")).body(()).unwrap();
    request.extensions_mut().insert(PeerAddress(from.into()));
    request
}

/// Who guesses is slowed down, and nobody else at another address, nor who knows his token
/// at the same one.
#[tokio::test]
async fn failures_of_an_address_are_slowed_down() {
    let bench = Bench::new().await;
    let admin = Asker::of_this_machine(Role::Admin.name(), "test").caller;
    let (gate, tokens) = bench.gate(&[admin]);
    let (here, there) = ([203, 0, 113, 9], [203, 0, 113, 10]);
    let mut refused = 0;
    for _ in 0..2 * FAILURES.0 {
        match gate.admit(&call(here, "swt_guess")) {
            Err(ServiceError::Unauthenticated(_)) => {}
            Err(ServiceError::Overloaded) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // A slow machine refills some meanwhile.
    assert!(refused > FAILURES.0 / 2, "{refused}");
    let elsewhere = gate.admit(&call(there, "swt_guess"));
    assert!(matches!(elsewhere, Err(ServiceError::Unauthenticated(_))), "{elsewhere:?}");
    assert!(gate.admit(&call(here, &tokens[0])).is_ok());
}
