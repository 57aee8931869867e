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

/// Whether recording waits for the disk that the other thread waits for.
#[test]
#[ignore = "a measurement"]
fn stalls() {
    for every in [NEVER, Duration::from_secs(1), Duration::from_millis(20)] {
        let bench = Bench::new();
        let store = Embedded::open_folding(&bench.path(), bench.clock.clone(), every).unwrap();
        let entry = entry("openai-production-1", "gpt-4o-2024-08-06", 1000);
        let mut took: Vec<u64> = (0..2_000_000)
            .map(|_| {
                let start = Instant::now();
                store.record(&entry).unwrap();
                start.elapsed().as_nanos() as u64
            })
            .collect();
        took.sort_unstable();
        let at = |share: f64| took[(share * (took.len() - 1) as f64) as usize] / 100;
        let [half, p99, p999, p9999, most] = [0.5, 0.99, 0.999, 0.9999, 1.0].map(at);
        println!(
            "folding every {every:?}: half within {half}, 99 % {p99}, 99.9 % {p999}, \
             99.99 % {p9999}, all {most} tenths of a µs"
        );
    }
}
