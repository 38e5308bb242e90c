//! `postrider queue`: what waits, and orders about it.

use std::time::Duration;

use base::Timestamp;
use web::admin::types::{
    Delivery, Destination, DestinationState, Order, Ordered, QueuePage, QueueSummary, Selection, Time,
};

use super::args::{Narrow, QueueArgs, QueueCommand, Which};
use super::failure::{Code, Failure};
use super::output::{Align, Printed, Style, Table, Tone, count, span, tone_of};
use crate::control::{Control, escaped};

pub async fn run(args: QueueArgs, control: &Control, now: Timestamp, style: Style) -> Result<Printed, Failure> {
    match args.command {
        None => {
            let queue: QueueSummary = control.get("/queue").await?;
            Ok(Printed::new(&queue, summary(&queue, now, style)))
        }
        Some(QueueCommand::List { narrow, limit, after }) => {
            let page: QueuePage = control.get(&list_path(&narrow, limit, after.as_deref())).await?;
            Ok(Printed::new(&page, list(&page, now, style)))
        }
        Some(QueueCommand::Hold(which)) => order(Order::Hold, which, control).await,
        Some(QueueCommand::Release(which)) => order(Order::Release, which, control).await,
        Some(QueueCommand::Retry(which)) => order(Order::Retry, which, control).await,
        Some(QueueCommand::Cancel(which)) => order(Order::Cancel, which, control).await,
    }
}

async fn order(order: Order, which: Which, control: &Control) -> Result<Printed, Failure> {
    let selection = selection(which);
    let one = selection.id;
    let ordered: Ordered = control.post(&format!("/queue/{}", order.as_str()), &selection).await?;
    match one {
        // Whoever names one message wants to know that it is not there.
        Some(id) if ordered.deliveries == 0 && ordered.in_flight == 0 => {
            let text = format!("nothing that waits of message {id} was met");
            Err(Failure::new(Code::NotFound, text).advise(format!("What became of it: postrider message explain {id}")))
        }
        _ => Ok(Printed::new(&ordered, told(order, &ordered))),
    }
}

fn selection(which: Which) -> Selection {
    Selection { id: which.id, account: which.account, destination: which.destination, all: which.all }
}

fn list_path(narrow: &Narrow, limit: u32, after: Option<&str>) -> String {
    let mut path = format!("/queue/messages?limit={limit}");
    if let Some(id) = narrow.id {
        path.push_str(&format!("&id={id}"));
    }
    for (name, value) in
        [("account", narrow.account.as_deref()), ("destination", narrow.destination.as_deref()), ("after", after)]
    {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    path
}

fn told(order: Order, ordered: &Ordered) -> String {
    let deliveries = count(ordered.deliveries, "delivery", "deliveries");
    let mut text = match order {
        _ if ordered.deliveries == 0 && ordered.in_flight == 0 => return "nothing that waits was meant\n".to_owned(),
        Order::Hold => format!("{deliveries} held; let them go with `postrider queue release`\n"),
        Order::Release => format!("{deliveries} released\n"),
        Order::Retry => format!("{deliveries} to be tried now\n"),
        Order::Cancel => format!("{deliveries} cancelled\n"),
    };
    if ordered.in_flight > 0 {
        let others = count(ordered.in_flight, "other is", "others are");
        text.push_str(&format!(
            "{others} being tried at this moment: the order holds for what the attempt leaves over\n"
        ));
    }
    text
}

fn summary(queue: &QueueSummary, now: Timestamp, style: Style) -> String {
    if queue.destinations.is_empty() {
        return "the queue is empty\n".to_owned();
    }
    let mut table = Table::new(&[
        ("destination", Align::Left),
        ("queued", Align::Right),
        ("in flight", Align::Right),
        ("held", Align::Right),
        ("oldest", Align::Right),
        ("state", Align::Left),
    ]);
    for destination in &queue.destinations {
        table.row(summary_row(destination, now));
    }
    let mut text = table.render(style);
    if queue.more > 0 {
        text.push_str(&format!("and {}\n", count(queue.more, "more destination", "more destinations")));
    }
    text.push_str(&format!(
        "\n{} waiting, {} being tried, {} held\n",
        count(queue.queued, "delivery", "deliveries"),
        queue.in_flight,
        queue.held
    ));
    text
}

fn summary_row(row: &Destination, now: Timestamp) -> [(Tone, String); 6] {
    let state = match row.state {
        DestinationState::Ready => "ready",
        DestinationState::Down => "down",
        DestinationState::Throttled => "throttled",
    };
    let held = if row.held > 0 { Tone::Wait } else { Tone::Plain };
    [
        (Tone::Plain, row.destination.clone()),
        (Tone::Plain, row.queued.to_string()),
        (Tone::Plain, row.in_flight.to_string()),
        (held, row.held.to_string()),
        (Tone::Plain, row.oldest_at.map(|at| span(now.since(at.0))).unwrap_or_default()),
        (tone_of(state), format!("{state}{}", ahead(row.until, now))),
    ]
}

fn list(page: &QueuePage, now: Timestamp, style: Style) -> String {
    if page.deliveries.is_empty() {
        return "nothing waits\n".to_owned();
    }
    let mut table = Table::new(&[
        ("message", Align::Left),
        ("account", Align::Left),
        ("destination", Align::Left),
        ("recipients", Align::Right),
        ("attempts", Align::Right),
        ("age", Align::Right),
        ("waits for", Align::Left),
    ]);
    for delivery in &page.deliveries {
        table.row(list_row(delivery, now));
    }
    let mut text = table.render(style);
    if let Some(next) = &page.next {
        let shown = page.deliveries.len() as u64;
        match page.total {
            Some(total) => text.push_str(&format!("\n{shown} of {}", count(total, "delivery", "deliveries"))),
            None => text.push_str("\nthere are more"),
        }
        text.push_str(&format!("; go on with --after {next}\n"));
    }
    text
}

fn list_row(delivery: &Delivery, now: Timestamp) -> [(Tone, String); 7] {
    [
        (Tone::Plain, delivery.id.to_string()),
        (Tone::Plain, delivery.account.clone()),
        (Tone::Plain, delivery.destination.clone()),
        (Tone::Plain, delivery.recipients.to_string()),
        (Tone::Plain, delivery.attempts.to_string()),
        (Tone::Plain, span(now.since(delivery.accepted_at.0))),
        (Tone::Plain, format!("{}{}", delivery.waits_for.words(), ahead(delivery.until, now))),
    ]
}

/// ` in 12 min`, or nothing where no time is known.
fn ahead(until: Option<Time>, now: Timestamp) -> String {
    match until.map(|until| until.0.since(now)) {
        None => String::new(),
        Some(Duration::ZERO) => ", due now".to_owned(),
        Some(wait) => format!(", in {}", span(wait)),
    }
}

#[cfg(test)]
mod tests {
    use base::MessageId;
    use web::admin::types::WaitsFor;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_321_000);

    fn at(seconds_ago: i64) -> Time {
        Time(Timestamp((NOW.0 as i64 - seconds_ago * 1_000_000) as u64))
    }

    fn delivery() -> Delivery {
        Delivery {
            id: MessageId::new(1, [0; 10]),
            account: "shop".into(),
            destination: "example.org".into(),
            recipients: 2,
            attempts: 3,
            accepted_at: at(7_500),
            expires_at: at(-400_000),
            waits_for: WaitsFor::Retry,
            until: Some(at(-700)),
        }
    }

    #[test]
    fn the_summary_has_a_line_for_each_destination() {
        let row = |destination: &str, state, until| Destination {
            destination: destination.into(),
            queued: 12,
            in_flight: 1,
            held: 0,
            oldest_at: Some(at(90)),
            state,
            until,
        };
        let queue = QueueSummary {
            queued: 1_024,
            in_flight: 2,
            held: 0,
            destinations: vec![
                row("example.org", DestinationState::Ready, None),
                row("example.net", DestinationState::Down, Some(at(-300))),
            ],
            more: 7,
        };
        assert_eq!(
            summary(&queue, NOW, Style::PLAIN),
            "destination  queued  in flight  held  oldest  state\n\
             example.org      12          1     0   1 min  ready\n\
             example.net      12          1     0   1 min  down, in 5 min\n\
             and 7 more destinations\n\
             \n1,024 deliveries waiting, 2 being tried, 0 held\n"
        );
        let empty = QueueSummary { queued: 0, in_flight: 0, held: 0, destinations: Vec::new(), more: 0 };
        assert_eq!(summary(&empty, NOW, Style::PLAIN), "the queue is empty\n");
    }

    #[test]
    fn a_page_says_how_many_more_there_are() {
        let page = QueuePage { deliveries: vec![delivery()], total: Some(2_000_000), next: Some("x7".into()) };
        let shown = list(&page, NOW, Style::PLAIN);
        assert!(shown.contains("shop     example.org           2         3  2 h 5 min  retry, in 11 min\n"), "{shown}");
        assert!(shown.ends_with("\n1 of 2,000,000 deliveries; go on with --after x7\n"), "{shown}");
        let last = QueuePage { next: None, ..page };
        assert!(!list(&last, NOW, Style::PLAIN).contains("--after"));
    }

    #[test]
    fn what_is_asked_for_is_escaped() {
        let narrow = Narrow { id: None, account: Some("my shop&limit=9".into()), destination: None };
        assert_eq!(
            list_path(&narrow, 50, Some("a b")),
            "/queue/messages?limit=50&account=my%20shop%26limit%3D9&after=a%20b"
        );
    }

    #[test]
    fn an_order_tells_what_it_met() {
        assert_eq!(told(Order::Cancel, &Ordered { deliveries: 1, in_flight: 0 }), "1 delivery cancelled\n");
        assert_eq!(told(Order::Retry, &Ordered { deliveries: 0, in_flight: 0 }), "nothing that waits was meant\n");
        assert!(told(Order::Hold, &Ordered { deliveries: 2, in_flight: 0 }).contains("queue release"));
        assert!(told(Order::Cancel, &Ordered { deliveries: 0, in_flight: 1 }).contains("1 other is being tried"));
    }
}
