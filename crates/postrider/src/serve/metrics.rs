//! What `/metrics` shows: the rooms' own counters, read when somebody asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use spool::{Health, Spool};

/// The rooms whose figures are shown.
pub struct Figures {
    pub spool: Spool,
    pub accept: Arc<accept::Counters>,
    pub deliver: Arc<deliver::counters::Counters>,
    pub projector: Arc<service::events::Progress>,
}

/// A registry that reads the rooms' figures when it is asked.
pub fn registry(figures: Figures) -> Registry {
    let mut registry = Registry::with_prefix("postrider");
    registry.register_collector(Box::new(figures));
    registry
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut page = Page { encoder: &mut encoder };
        self.accept(&mut page)?;
        self.spool(&mut page)?;
        self.deliver(&mut page)
    }
}

impl Figures {
    fn accept(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let accept = &self.accept;
        page.count("smtp_connections", "SMTP connections taken", read(&accept.connections))?;
        page.count("smtp_messages_accepted", "messages acknowledged with 250", read(&accept.messages_accepted))?;
        page.count(
            "smtp_messages_refused",
            "messages refused or put off after DATA or BDAT",
            read(&accept.messages_refused),
        )?;
        page.count("smtp_auth_failures", "failed AUTH commands", read(&accept.auth_failures))?;
        page.count("smtp_octets_accepted", "octets of accepted messages", read(&accept.octets_accepted))
    }

    fn spool(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let stats = self.spool.stats();
        let accepting = matches!(self.spool.health(), Health::Good);
        page.gauge("spool_accepting", "1 while the spool takes new mail", u64::from(accepting))?;
        page.gauge("spool_messages", "messages that are not closed", stats.live_messages)?;
        page.gauge("spool_segments", "segment files in use", stats.segments)?;
        page.count("spool_commits", "messages put on stable storage", stats.commits)?;
        page.count("spool_facts", "other facts written to the journal", stats.facts)?;
        page.count("spool_syncs", "disk syncs of the journal", stats.syncs)?;
        page.count("spool_keys_destroyed", "body keys overwritten on stable storage", stats.keys_destroyed)?;
        page.gauge("spool_keys_to_destroy", "body keys of closed messages not yet overwritten", stats.destroy_backlog)
    }

    fn deliver(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let deliver = &self.deliver;
        page.count("delivery_attempts", "delivery attempts", read(&deliver.attempts))?;
        page.count("recipients_delivered", "recipients delivered", read(&deliver.delivered))?;
        page.count("recipients_deferred", "temporary refusals of recipients", read(&deliver.deferred))?;
        page.count("recipients_bounced", "recipients refused for good", read(&deliver.bounced))?;
        page.count("recipients_expired", "recipients given up", read(&deliver.expired))?;
        page.count("recipients_cancelled", "recipients taken back", read(&deliver.cancelled))?;
        page.count(
            "recipients_maybe_delivered",
            "connections lost behind the final dot",
            read(&deliver.maybe_delivered),
        )?;
        page.count("reports", "delivery reports written", read(&deliver.reports))?;
        page.count("messages_quarantined", "messages found damaged on disk", read(&deliver.quarantined))?;
        page.gauge("queue_deliveries", "deliveries that wait or run", read(&deliver.queued))?;
        page.gauge("queue_destinations", "destinations with deliveries", read(&deliver.lanes))?;
        page.gauge("queue_in_flight", "attempts that run", read(&deliver.in_flight))?;
        page.gauge("queue_held", "deliveries that are held", read(&deliver.held))?;
        page.count("history_facts", "journal facts written to the history", self.projector.facts())?;
        page.gauge("history_stalled", "1 while the history cannot be written", u64::from(self.projector.is_stalled()))
    }
}

struct Page<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
}

impl Page<'_, '_> {
    fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
    }
}
