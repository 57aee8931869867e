//! What the path costs.
//!
//! `benches/stages.rs` times each stage by itself (criterion). `bench-path` measures the whole
//! process beside a bare Pingora proxy (`src/bin/bare_pingora.rs`) and nginx, driven by
//! `src/bin/bench_load.rs`. Only ratios of one run mean anything, except for the instructions and
//! system calls of a request, which repeat exactly.
