// Measures tokio::sync::mpsc on a current-thread runtime: one task sends, one receives. (A LocalSet, or receiving in what
// block_on() is given, takes the same time. Tokio has no rendezvous.) Prints what Google Benchmark would.
use std::hint::black_box;
use std::time::Instant;
use tokio::sync::mpsc;

const WARM_UP: u64 = 10_000;
const ITEMS: u64 = 2_000_000;

fn ns_per_item(capacity: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let (tx, mut rx) = mpsc::channel::<u64>(capacity);
        tokio::spawn(async move {
            for i in 0..WARM_UP + ITEMS {
                tx.send(i).await.unwrap();
            }
        });
        let receiving = tokio::spawn(async move {
            for _ in 0..WARM_UP {
                black_box(rx.recv().await.unwrap());
            }
            let begin = Instant::now();
            for _ in 0..ITEMS {
                black_box(rx.recv().await.unwrap());
            }
            begin.elapsed()
        });
        receiving.await.unwrap().as_nanos() as f64 / ITEMS as f64
    })
}

fn main() {
    let rows: Vec<String> = [1, 1024]
        .iter()
        .map(|&capacity| {
            let ns = ns_per_item(capacity);
            format!(
                r#"{{"name": "channel/tokio/{}", "run_type": "iteration", "iterations": {}, "real_time": {:.2}, "cpu_time": {:.2}, "time_unit": "ns", "items_per_second": {:.0}}}"#,
                capacity, ITEMS, ns, ns, 1e9 / ns
            )
        })
        .collect();
    println!("{{\"benchmarks\": [{}]}}", rows.join(", "));
}
