// Measures tokio::sync::mpsc between threads: so many threads send with blocking_send, a task on a current-thread runtime
// receives. Prints what Google Benchmark would. (Tokio has no mpmc channel.)
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const ITEMS: u64 = 100_000; // per round

fn round(senders: u64) -> Duration {
    let begin = Instant::now();
    let (tx, mut rx) = mpsc::channel::<u64>(1024);
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            let tx = tx.clone();
            std::thread::spawn(move || {
                for i in 0..ITEMS / senders {
                    tx.blocking_send(i).unwrap();
                }
            })
        })
        .collect();
    drop(tx);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let received = runtime.block_on(async move {
        let mut n = 0;
        while let Some(item) = rx.recv().await {
            std::hint::black_box(item);
            n += 1;
        }
        n
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(received, ITEMS);
    begin.elapsed()
}

fn main() {
    let rows: Vec<String> = [1, 4]
        .iter()
        .map(|&senders| {
            let mut total = Duration::ZERO;
            let mut rounds = 0;
            while total < Duration::from_millis(500) {
                total += round(senders);
                rounds += 1;
            }
            let ns = total.as_nanos() as f64 / rounds as f64;
            format!(
                r#"{{"name": "thread_channel/tokio/mpsc/{}/real_time", "run_type": "iteration", "iterations": {}, "real_time": {:.2}, "cpu_time": {:.2}, "time_unit": "ns", "items_per_second": {:.0}}}"#,
                senders, rounds, ns, ns, ITEMS as f64 * 1e9 / ns
            )
        })
        .collect();
    println!("{{\"benchmarks\": [{}]}}", rows.join(", "));
}
