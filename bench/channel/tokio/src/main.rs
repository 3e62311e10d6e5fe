// Measures tokio::sync::mpsc on a current-thread runtime: one task sends, one receives. Prints what Google Benchmark would.
use std::time::Instant;
use tokio::sync::mpsc;

const ITEMS: u64 = 1_000_000;

fn ns_per_item(capacity: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let begin = Instant::now();
    tasks.block_on(&runtime, async move {
        let (tx, mut rx) = mpsc::channel::<u64>(capacity);
        tokio::task::spawn_local(async move {
            for i in 0..ITEMS {
                tx.send(i).await.unwrap();
            }
        });
        let sum = tokio::task::spawn_local(async move {
            let mut sum = 0;
            while let Some(item) = rx.recv().await {
                sum += item;
            }
            sum
        });
        assert_eq!(sum.await.unwrap(), ITEMS * (ITEMS - 1) / 2);
    });
    begin.elapsed().as_nanos() as f64 / ITEMS as f64
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
