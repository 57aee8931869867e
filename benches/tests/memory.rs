//! What a credential takes of the memory, counted by the allocator: not what the process has of the
//! system, which depends on what it did before.
#![allow(dead_code, reason = "the stand is for more than this")]

#[path = "../stand/mod.rs"]
mod stand;

use peak_alloc::PeakAlloc;
use stand::{ground, planned};
use turnpike::assemble::assemble;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of a gateway with so many: what was read of them, what serves them, and how they stand.
fn held(credentials: usize) -> usize {
    let before = ALLOCATOR.current_usage();
    let ground = ground();
    let plan = planned("round_robin", credentials, |_| String::new());
    let snapshot = assemble(&plan, [].iter(), &ground, 1, true).expect("a plan that can be served");
    let held = ALLOCATOR.current_usage() - before;
    assert_eq!(snapshot.usable().count(), credentials);
    held
}

#[test]
fn a_credential_takes_at_most_two_kib() {
    // What is made once and kept.
    held(1);
    let each = (held(2_010) - held(10)) / 2_000;
    println!("{each} bytes a credential");
    assert!(each <= 2048, "{each} bytes a credential");
}
