//! Files that clients pass: reading one must not wait for another program.
//!
//! The pages of a file on FUSE or a network file system come from a program, which can take as long
//! as it likes: a read blocks, and so does each access to a mapping of it.

use std::os::fd::AsFd;

/// `f_type` of file systems that are served by a program or over a network
/// (include/uapi/linux/magic.h, statfs(2)).
const SERVED: [u32; 9] = [
    0x6573_5546, // FUSE
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x00c3_6400, // Ceph
    0x7375_7245, // Coda
];

/// Returns whether reading a file may wait for a program or a network. A file of which nothing is
/// known does.
pub fn may_block(file: impl AsFd) -> bool {
    rustix::fs::fstatfs(file).map_or(true, |stat| SERVED.contains(&(stat.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_local_files_do_not_block() {
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
        assert!(!may_block(&memory));
        assert!(!may_block(tempfile::tempfile().expect("a file")));
    }
}
