//! The pool: what is kept, what is closed, and that closing is polite and waits for nobody.

use std::sync::Arc;
use std::time::Duration;

use deliver::agent::AgentConfig;
use deliver::connection::OpenConnection;
use deliver::pool::Pool;
use queue::{LaneId, LaneKey, NewJob, Planner, RouteId};
use tokio::sync::Notify;

use crate::mx::{Mx, Peer};
use crate::world::*;

fn pool(change: impl FnOnce(&mut AgentConfig)) -> Pool {
    Pool::new(agent_with(change).config())
}

/// A lane, as only a planner can make one.
fn lane() -> LaneId {
    let mut planner = Planner::new(queue::Config::default(), fastrand::Rng::with_seed(1));
    planner.enqueue(
        base::Timestamp(0),
        NewJob {
            message: base::MessageId::new(1, [0; 10]),
            account: base::AccountId(1),
            stream: base::Stream::Transactional,
            lane: LaneKey { site: "example", route: RouteId(0) },
            recipients: &[0],
            accepted_at: base::Timestamp(0),
            attempts: 0,
            not_before: None,
            held: false,
            delay_noticed: false,
        },
    );
    match planner.poll(base::Timestamp(0)) {
        Some(queue::Action::Attempt(assignment)) => assignment.lane,
        other => panic!("the job is due: {other:?}"),
    }
}

async fn connection(mx: &Mx) -> OpenConnection {
    attempt(&agent(), &plan(&[mx.address]), task(&["a@there"])).await.connection.expect("it stays open")
}

/// A server that tells when it has heard QUIT.
async fn listening_for_quit(after: Duration) -> (Mx, Arc<Notify>) {
    let heard = Arc::new(Notify::new());
    let tell = Arc::clone(&heard);
    let mx = Mx::start(move |mut peer: Peer| {
        let tell = Arc::clone(&tell);
        async move {
            peer.greets(&[]).await;
            peer.takes().await;
            peer.hears("QUIT").await;
            tell.notify_one();
            tokio::time::sleep(after).await;
            peer.says("221 bye\r\n").await;
        }
    })
    .await;
    (mx, heard)
}

#[tokio::test(start_paused = true)]
async fn what_was_put_in_comes_out_again() {
    let _clock = time_flies();
    let mx = Mx::good(&[]).await;
    let (mut pool, lane) = (pool(|_| {}), lane());
    assert!(pool.take(lane).is_none());
    pool.put(lane, connection(&mx).await, 100);
    pool.put(lane, connection(&mx).await, 100);
    assert_eq!(pool.len(), 2);
    assert!(pool.take(lane).is_some() && pool.take(lane).is_some() && pool.take(lane).is_none());
    assert!(pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_long_is_closed_with_quit() {
    let _clock = time_flies();
    let (mx, heard) = listening_for_quit(Duration::from_secs(3600)).await;
    let (mut pool, lane) = (pool(|_| {}), lane());
    pool.put(lane, connection(&mx).await, 100);
    let due = pool.sweep_at().expect("there is something to close");
    pool.sweep();
    assert_eq!(pool.len(), 1, "not before its time");
    tokio::time::sleep_until(due).await;
    // The server never answers QUIT: nobody waits for it.
    pool.sweep();
    assert!(pool.is_empty() && pool.sweep_at().is_none());
    heard.notified().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_closed_by_the_server_is_not_given_out() {
    let _clock = time_flies();
    let closed = Arc::new(Notify::new());
    let close = Arc::clone(&closed);
    let mx = Mx::start(move |mut peer: Peer| {
        let close = Arc::clone(&close);
        async move {
            peer.greets(&[]).await;
            peer.takes().await;
            drop(peer);
            close.notify_one();
        }
    })
    .await;
    let (mut pool, lane) = (pool(|_| {}), lane());
    let open = connection(&mx).await;
    closed.notified().await;
    pool.put(lane, open, 100);
    // Long enough for the end of the stream to be noticed, short of the idle time.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pool.take(lane).is_none());
    assert!(pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_closed() {
    let _clock = time_flies();
    let (mx, heard) = listening_for_quit(Duration::ZERO).await;
    let (mut pool, lane) = (pool(|config| config.idle_connections_max = 1), lane());
    pool.put(lane, connection(&mx).await, 100);
    pool.put(lane, connection(&mx).await, 100);
    assert_eq!(pool.len(), 1);
    heard.notified().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_end_all_are_closed_within_seconds() {
    let _clock = time_flies();
    let (mx, heard) = listening_for_quit(Duration::from_secs(3600)).await;
    let (mut pool, lane) = (pool(|_| {}), lane());
    pool.put(lane, connection(&mx).await, 100);
    let began = tokio::time::Instant::now();
    pool.close_all().await;
    heard.notified().await;
    assert!(began.elapsed() <= Duration::from_secs(15));
    assert!(pool.is_empty());
}
