//! Turns the filters of a request (`flow.FlowFilter`, as sent by any Hubble client) into one compiled [`Filter`].
//!
//! The algebra is Hubble's: a flow passes if one filter of the whitelist matches (or the list is empty) and none of the
//! blacklist does. Within one filter the fields that are set are joined by AND, the values of one field by OR.
//!
//! Everything that can be wrong in a filter is refused when it is compiled, with the place and the reason; matching
//! can't fail. One family of fields is one file below; `conditions` is the one table of all fields, and it does not
//! compile while a field of the message is missing from it.

use std::fmt;
use std::sync::Arc;

use crate::flow::{Flow, FlowFilter};
use crate::matching::End;

mod ends;
mod error;
mod http;
mod kubernetes;
mod l4;
mod names;
mod narrow;
#[cfg(test)]
mod tests;
mod tracing;
mod verdict;
mod weir;

pub use error::{FilterError, List, Reason};
pub use narrow::Lists;

/// The most values that all filters of one request may name together. Each costs time at every flow.
pub const MAX_VALUES: usize = 10_000;

/// The most regular expressions that all filters of one request may hold together. Each may take up to
/// 1 MiB of memory, and as much again for its cache.
pub const MAX_PATTERNS: usize = 64;

/// The fields whose values are regular expressions.
const PATTERNS: [&str; 3] = ["dns_query", "http_path", "http_url"];

/// A condition on one flow.
type Predicate = Box<dyn Fn(&Flow) -> bool + Send + Sync>;

/// The filters of a request, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Filter {
    whitelist: Arc<[Conjunction]>,
    blacklist: Arc<[Conjunction]>,
}

impl Filter {
    /// Compiles both lists of a request.
    ///
    /// # Errors
    /// The first value that is wrong, by its place in the request.
    pub fn compile(whitelist: &[FlowFilter], blacklist: &[FlowFilter]) -> Result<Self, FilterError> {
        let mut budget = Budget::default();
        Ok(Self {
            whitelist: compile_list(List::Whitelist, whitelist, &mut budget)?,
            blacklist: compile_list(List::Blacklist, blacklist, &mut budget)?,
        })
    }

    /// The filter that lets every flow pass.
    #[must_use]
    pub fn everything() -> Self {
        Self { whitelist: Arc::default(), blacklist: Arc::default() }
    }

    /// True if the flow passes.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let wanted = self.whitelist.is_empty() || self.whitelist.iter().any(|filter| filter.matches(flow));
        wanted && !self.blacklist.iter().any(|filter| filter.matches(flow))
    }

    /// True if no flow can fail, so that a caller need not decode one.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let wants_all = self.whitelist.is_empty() || self.whitelist.iter().any(Conjunction::is_empty);
        wants_all && self.blacklist.is_empty()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("whitelist", &self.whitelist.len())
            .field("blacklist", &self.blacklist.len())
            .finish()
    }
}

fn compile_list(
    list: List,
    filters: &[FlowFilter],
    budget: &mut Budget,
) -> Result<Arc<[Conjunction]>, FilterError> {
    filters
        .iter()
        .enumerate()
        .map(|(filter, wire)| {
            let mut all = Conjunction::default();
            conditions(wire, &mut Conditions { all: &mut all, list, filter, budget })?;
            Ok(all)
        })
        .collect()
}

/// Expands to the table of [`conditions`]: takes the message apart without `..`, so that a field that is not listed is
/// a compile error, and adds one condition a field.
macro_rules! table {
    ($wire:expr, $into:expr, apart from { $($other:ident),* }, $($field:ident => $compile:expr,)*) => {
        let FlowFilter { $($field,)* $($other,)* } = $wire;
        $($into.any_of(stringify!($field), $field, $compile)?;)*
    };
}

/// The one table of all fields of `flow.FlowFilter`.
#[rustfmt::skip]
fn conditions(wire: &FlowFilter, into: &mut Conditions<'_>) -> Result<(), FilterError> {
    use End::{Destination, Source};
    http::check_event_types(wire, into)?;
    table! { wire, into, apart from { experimental, weir },
        source_ip                => |text| ends::address(Source, text),
        source_pod               => |text| kubernetes::pod(Source, text),
        destination_ip           => |text| ends::address(Destination, text),
        destination_pod          => |text| kubernetes::pod(Destination, text),
        verdict                  => verdict::verdict,
        event_type               => verdict::event_type,
        source_fqdn              => |text| names::fqdn(Source, text),
        destination_fqdn         => |text| names::fqdn(Destination, text),
        http_status_code         => |text| http::status_code(text),
        source_label             => |text| kubernetes::labels(Source, text),
        destination_label        => |text| kubernetes::labels(Destination, text),
        protocol                 => |text| l4::protocol(text),
        source_port              => |text| ends::port(Source, text),
        destination_port         => |text| ends::port(Destination, text),
        reply                    => verdict::reply,
        source_service           => |text| kubernetes::service(Source, text),
        destination_service      => |text| kubernetes::service(Destination, text),
        dns_query                => |text| names::dns_query(text),
        source_identity          => |id| kubernetes::identity(Source, *id),
        destination_identity     => |id| kubernetes::identity(Destination, *id),
        http_method              => |text| http::method(text),
        http_path                => |text| http::path(text),
        tcp_flags                => l4::tcp_flags,
        node_name                => |text| kubernetes::node_name(text),
        ip_version               => l4::ip_version,
        source_workload          => |workload| kubernetes::workload(Source, workload),
        destination_workload     => |workload| kubernetes::workload(Destination, workload),
        trace_id                 => |text| tracing::trace_id(text),
        uuid                     => |text| tracing::uuid(text),
        traffic_direction        => verdict::traffic_direction,
        http_url                 => |text| http::url(text),
        http_header              => http::header,
        drop_reason_desc         => verdict::drop_reason,
        source_ip_xlated         => |text| ends::masquerade(text),
        interface                => ends::interface,
        node_labels              => |text| kubernetes::node_labels(text),
        source_cluster_name      => |text| kubernetes::cluster(Source, text),
        destination_cluster_name => |text| kubernetes::cluster(Destination, text),
        ip_trace_id              => tracing::ip_trace_id,
        encrypted                => ends::encrypted,
    }
    let cel_expression = experimental.as_ref().map_or(&[][..], |experimental| &experimental.cel_expression);
    into.any_of("experimental.cel_expression", cel_expression, |_| Err(Reason::CelUnsupported))?;
    weir.as_ref().map_or(Ok(()), |weir| weir::conditions(weir, into))
}

/// All conditions of one `FlowFilter`; a flow matches if each one holds.
#[derive(Default)]
struct Conjunction(Vec<Vec<Predicate>>);

impl Conjunction {
    fn matches(&self, flow: &Flow) -> bool {
        self.0.iter().all(|field| field.iter().any(|value| value(flow)))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the filters of one request have used up of its bounds.
#[derive(Default)]
struct Budget {
    values: usize,
    patterns: usize,
}

/// Where the conditions of one `FlowFilter` are gathered.
struct Conditions<'a> {
    all: &'a mut Conjunction,
    list: List,
    filter: usize,
    budget: &'a mut Budget,
}

impl Conditions<'_> {
    /// Adds the condition that one of a field's values matches; none if the field is not set.
    fn any_of<T>(
        &mut self,
        field: &'static str,
        values: &[T],
        compile: impl Fn(&T) -> Result<Predicate, Reason>,
    ) -> Result<(), FilterError> {
        if values.is_empty() {
            return Ok(());
        }
        let mut any = Vec::with_capacity(values.len().min(MAX_VALUES));
        for (index, value) in values.iter().enumerate() {
            self.spend(field).map_err(|reason| self.error(field, index, reason))?;
            any.push(compile(value).map_err(|reason| self.error(field, index, reason))?);
        }
        self.all.0.push(any);
        Ok(())
    }

    fn spend(&mut self, field: &'static str) -> Result<(), Reason> {
        self.budget.values += 1;
        if self.budget.values > MAX_VALUES {
            return Err(Reason::TooManyValues);
        }
        if PATTERNS.contains(&field) {
            self.budget.patterns += 1;
        }
        if self.budget.patterns > MAX_PATTERNS {
            return Err(Reason::TooManyPatterns);
        }
        Ok(())
    }

    fn error(&self, field: &'static str, value: usize, reason: Reason) -> FilterError {
        FilterError { list: self.list, filter: self.filter, field, value, reason }
    }
}

/// A condition that can be had without a chance of error.
fn predicate(test: impl Fn(&Flow) -> bool + Send + Sync + 'static) -> Result<Predicate, Reason> {
    Ok(Box::new(test))
}
