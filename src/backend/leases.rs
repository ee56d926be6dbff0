//! Leases of connectors (drm-lease): what can be leased, what was offered to each client, what one
//! request asks for, and which leases there are. Generic over the protocol's objects, so that tests
//! need no clients.

use std::collections::BTreeMap;

use drm::control::LeaseId;

use super::Backend;

/// A connector that can be leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leasable {
    pub name: String,
    /// For a person.
    pub description: String,
    /// The kernel's id.
    pub id: u32,
}

impl Backend {
    /// Returns the connectors of a GPU that can be leased.
    pub fn leasable(&self, gpu: u64) -> Vec<Leasable> {
        let Some(gpu) = self.gpu(gpu) else { return Vec::new() };
        let connectors = gpu.device.leasable_connectors().map(|connector| {
            let name = connector.state.name.clone();
            let monitor = connector.state.monitor.as_ref();
            let description = monitor.map_or_else(|| name.clone(), |monitor| format!("{monitor} ({name})"));
            Leasable { name, description, id: connector.handle.into() }
        });
        connectors.collect()
    }
}

/// The connectors that were offered to one client, with its objects.
#[derive(Debug)]
pub struct Offers<C>(BTreeMap<String, C>);

impl<C> Default for Offers<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C> Offers<C> {
    /// Removes the connectors that can no longer be leased, and returns their objects.
    pub fn remove_unleasable(&mut self, leasable: &[Leasable]) -> Vec<C> {
        let is_leasable = |name: &str| leasable.iter().any(|known| known.name == name);
        let gone = |name: &&String| !is_leasable(name);
        let gone: Vec<String> = self.0.keys().filter(gone).cloned().collect();
        gone.iter().filter_map(|name| self.0.remove(name)).collect()
    }

    /// Adds what can be leased and was not offered yet. `offer` returns the client's object, or
    /// `None` if it gets none. Returns whether anything was added.
    pub fn add(&mut self, leasable: &[Leasable], offer: impl Fn(&Leasable) -> Option<C>) -> bool {
        let before = self.0.len();
        for connector in leasable {
            if !self.0.contains_key(&connector.name) {
                self.0.extend(offer(connector).map(|object| (connector.name.clone(), object)));
            }
        }
        self.0.len() > before
    }
}

/// The connectors that a lease request has so far, all of one GPU.
#[derive(Debug)]
pub struct LeaseRequest {
    gpu: u64,
    names: Vec<String>,
}

/// Why a connector cannot be added to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseRequestError {
    WrongDevice,
    Duplicate,
}

impl LeaseRequest {
    /// Makes a request without connectors.
    pub fn new(gpu: u64) -> Self {
        Self { gpu, names: Vec::new() }
    }

    /// Adds a connector.
    ///
    /// # Errors
    /// If it is another GPU's, or was added before.
    pub fn add(&mut self, gpu: u64, name: &str) -> Result<(), LeaseRequestError> {
        if gpu != self.gpu {
            return Err(LeaseRequestError::WrongDevice);
        }
        if self.names.iter().any(|known| known == name) {
            return Err(LeaseRequestError::Duplicate);
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Returns the GPU and the connectors. `None` without a connector: that cannot be leased.
    pub fn connectors(&self) -> Option<(u64, Vec<String>)> {
        (!self.names.is_empty()).then(|| (self.gpu, self.names.clone()))
    }
}

/// One lease, with the client's object.
#[derive(Debug)]
struct Lease<L> {
    gpu: u64,
    lessee: LeaseId,
    object: L,
}

/// All leases that clients have.
#[derive(Debug)]
pub struct Leases<L>(Vec<Lease<L>>);

impl<L> Default for Leases<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L: PartialEq> Leases<L> {
    /// Adds a lease.
    pub fn add(&mut self, gpu: u64, lessee: LeaseId, object: L) {
        self.0.push(Lease { gpu, lessee, object });
    }

    /// Removes a lease that has ended, and returns its object.
    pub fn remove(&mut self, gpu: u64, lessee: LeaseId) -> Option<L> {
        let ended = |lease: &Lease<L>| lease.gpu == gpu && lease.lessee == lessee;
        let position = self.0.iter().position(ended)?;
        Some(self.0.remove(position).object)
    }

    /// Removes the leases of a GPU that is gone, and returns their objects.
    pub fn remove_gpu(&mut self, gpu: u64) -> Vec<L> {
        let (gone, others) = std::mem::take(&mut self.0).into_iter().partition(|lease| lease.gpu == gpu);
        self.0 = others;
        let gone: Vec<Lease<L>> = gone;
        gone.into_iter().map(|lease| lease.object).collect()
    }

    /// Returns the GPU and the lessee of an object's lease.
    pub fn find(&self, object: &L) -> Option<(u64, LeaseId)> {
        let lease = self.0.iter().find(|lease| lease.object == *object)?;
        Some((lease.gpu, lease.lessee))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn leasable(names: &[&str]) -> Vec<Leasable> {
        let connector = |name: &&str| Leasable { name: (*name).into(), description: (*name).into(), id: 1 };
        names.iter().map(connector).collect()
    }

    #[test]
    fn only_changes_are_offered_and_withdrawn() {
        let mut offers = Offers::default();
        let offer = |connector: &Leasable| Some(connector.name.clone());
        assert!(offers.add(&leasable(&["A", "B"]), offer));
        assert!(!offers.add(&leasable(&["A", "B"]), offer));
        assert_eq!(offers.remove_unleasable(&leasable(&["B", "C"])), ["A"]);
        assert!(!offers.add(&leasable(&["B", "C"]), |_| None), "the client is gone");
        assert!(offers.add(&leasable(&["B", "C"]), offer));
        assert_eq!(offers.remove_unleasable(&[]), ["B", "C"]);
    }

    #[test]
    fn request_has_each_connector_of_one_gpu_once() {
        let mut request = LeaseRequest::new(1);
        assert_eq!(request.connectors(), None);
        assert_eq!(request.add(2, "A"), Err(LeaseRequestError::WrongDevice));
        assert_eq!(request.add(1, "A"), Ok(()));
        assert_eq!(request.add(1, "A"), Err(LeaseRequestError::Duplicate));
        assert_eq!(request.add(1, "B"), Ok(()));
        assert_eq!(request.connectors(), Some((1, vec!["A".into(), "B".into()])));
    }

    #[test]
    fn lease_ends_alone_or_with_its_gpu() {
        let lessee = |number| NonZeroU32::new(number).expect("a lessee");
        let mut leases = Leases::default();
        leases.add(1, lessee(1), "a");
        leases.add(1, lessee(2), "b");
        // Lessees are numbered per device.
        leases.add(2, lessee(1), "c");
        assert_eq!(leases.find(&"c"), Some((2, lessee(1))));
        assert_eq!(leases.remove(2, lessee(1)), Some("c"));
        assert_eq!(leases.remove(2, lessee(1)), None);
        assert_eq!(leases.remove_gpu(1), ["a", "b"]);
        assert_eq!(leases.find(&"a"), None);
    }
}
