use super::*;

fn until_stopped(stop: &CancellationToken) {
    while !stop.is_cancelled() {
        std::thread::yield_now();
    }
}

#[test]
fn a_panic_that_nobody_waits_for_stops_the_node_and_is_its_error() {
    let stop = CancellationToken::new();
    let threads = Threads::new(stop.clone());
    threads.start_unattended("checker", || panic!("meant"));
    until_stopped(&stop);
    let error = threads.join().unwrap_err().to_string();
    assert_eq!(error, "the checker panicked: a mistake in this program");
}

#[test]
fn a_panic_is_told_rather_than_what_follows_from_it() {
    let stop = CancellationToken::new();
    let mut threads = Threads::new(stop.clone());
    threads.start("driver", move || {
        until_stopped(&stop);
        anyhow::bail!("nobody takes what is final");
    });
    threads.start("executor", || panic!("meant"));
    let error = threads.join().unwrap_err().to_string();
    assert_eq!(error, "the executor panicked: a mistake in this program");
}

#[test]
fn threads_that_end_as_they_should_leave_no_error() {
    let mut threads = Threads::new(CancellationToken::new());
    threads.start("intake", || Ok(()));
    threads.start_unattended("checker", || ());
    assert!(threads.join().is_ok());
}
