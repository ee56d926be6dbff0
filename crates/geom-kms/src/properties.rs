//! Properties of KMS objects, found by name.

use std::collections::HashMap;
use std::io;

use drm::control::property;

use crate::calls::{DrmCalls, ObjectId, PropertyInfo, PropertyKind};

/// One property of an object.
#[derive(Debug, Clone)]
struct Property {
    id: property::Handle,
    value: u64,
    kind: PropertyKind,
    is_immutable: bool,
}

/// The properties of an object with their values when they were read.
#[derive(Debug, Default)]
pub struct Properties(HashMap<String, Property>);

impl Properties {
    /// Returns the id of a property; `None` if the object does not have it.
    pub fn id(&self, name: &str) -> Option<property::Handle> {
        self.0.get(name).map(|property| property.id)
    }

    /// As [`Properties::id`]; `None` for a property that clients cannot write, too.
    pub fn writable_id(&self, name: &str) -> Option<property::Handle> {
        self.0.get(name).filter(|property| !property.is_immutable).map(|property| property.id)
    }

    /// Returns the value of a property.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.0.get(name).map(|property| property.value)
    }

    /// Returns the values that a property takes.
    pub fn kind(&self, name: &str) -> Option<&PropertyKind> {
        self.0.get(name).map(|property| &property.kind)
    }

    /// Returns the names and numbers of an enum property's values; none if it is no enum.
    pub fn choices(&self, name: &str) -> &[(String, u64)] {
        match self.kind(name) {
            Some(PropertyKind::Enum(choices)) => choices,
            _ => &[],
        }
    }

    /// Returns the id of a property that every atomic driver has.
    ///
    /// # Errors
    ///
    /// If the driver lacks it.
    pub fn required(&self, name: &str) -> io::Result<property::Handle> {
        self.id(name).ok_or_else(|| io::Error::other(format!("the driver lacks the KMS property {name}")))
    }
}

/// Reads properties. The kernel is asked once what a property is, as objects share most of them.
#[derive(Debug, Default)]
pub struct PropertyReader(HashMap<property::Handle, PropertyInfo>);

impl PropertyReader {
    /// Reads the properties of an object.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: the object is gone.
    pub fn read(&mut self, calls: &dyn DrmCalls, object: impl Into<ObjectId>) -> io::Result<Properties> {
        let mut properties = HashMap::new();
        for (id, value) in calls.properties(object.into())? {
            let info = match self.0.get(&id) {
                Some(known) => known.clone(),
                None => self.0.entry(id).or_insert(calls.property(id)?).clone(),
            };
            let PropertyInfo { name, kind, is_immutable } = info;
            properties.insert(name, Property { id, value, kind, is_immutable });
        }
        Ok(Properties(properties))
    }
}
