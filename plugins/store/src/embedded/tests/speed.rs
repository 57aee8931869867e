//! How long recording takes. A look, not a benchmark:
//! `cargo test --release -p turnpike-store speed -- --ignored --nocapture --test-threads 1`

use std::time::Instant;

use super::*;

const CALLS: u32 = 300_000;

fn measure(threads: u32) {
    let bench = Bench::new();
    let store = bench.store();
    let entry = Entry {
        usage: Usage {
            input: 1117,
            output: 460,
            cache_read: 1024,
            cache_write: 0,
            reasoning: 32,
        },
        ..entry("openai-production-1", "gpt-4o-2024-08-06", 0)
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..CALLS).for_each(|_| store.record(&entry).unwrap()));
        }
    });
    let took = start.elapsed().as_nanos() as f64 / f64::from(CALLS);
    println!("{threads} threads: {took:.0} ns a call of each, folding included");
    let start = Instant::now();
    store.close().unwrap();
    println!("closed in {:?}", start.elapsed());
}

#[test]
#[ignore = "a measurement"]
fn records() {
    [1, 1, 2, 4].into_iter().for_each(measure);
}

#[test]
#[ignore = "a measurement"]
fn starts() {
    let bench = Bench::new();
    let store = bench.lazy();
    for credential in 0..2_000 {
        for day in 0..100 {
            let mut entry = entry("", "gpt-4o-2024-08-06", 1000);
            entry.at += day * 86_400_000;
            let credential = format!("openai-production-{credential}");
            entry.credential = &credential;
            store.record(&entry).unwrap();
        }
    }
    let start = Instant::now();
    store.close().unwrap();
    println!("folded 200,000 rows in {:?}", start.elapsed());
    let start = Instant::now();
    let store = bench.lazy();
    println!(
        "opened {} bytes in {:?}",
        bench.path().metadata().unwrap().len(),
        start.elapsed()
    );
    drop(store);
}
