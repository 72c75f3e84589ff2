//! What the machine, or the container's share of it, gives to the engine.

use std::num::NonZeroUsize;
use std::path::Path;

/// Sizes the thread pool of the engine: `threads`, or what the container's CPU quota and affinity allow.
/// Returns the number of threads. Must come before the engine's first use.
///
/// # Errors
/// The pool was in use already.
pub fn size_thread_pool(threads: Option<NonZeroUsize>) -> Result<usize, rayon::ThreadPoolBuildError> {
    // The standard library reads the cgroup's quota, so that 2 CPUs of 64 do not get 64 threads that only
    // throttle one another.
    let threads = threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    Ok(threads)
}

/// Memory that this process may use: the container's limit, else the machine's memory. `None` where neither
/// can be read.
pub fn memory_limit_bytes() -> Option<u64> {
    let cgroup = std::fs::read_to_string(Path::new("/sys/fs/cgroup/memory.max")).ok();
    let machine = std::fs::read_to_string(Path::new("/proc/meminfo")).ok();
    limit_of(cgroup.as_deref(), machine.as_deref())
}

fn limit_of(cgroup: Option<&str>, meminfo: Option<&str>) -> Option<u64> {
    // "max" stands for no limit.
    let cgroup = cgroup.and_then(|text| text.trim().parse::<u64>().ok());
    let machine = meminfo.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    match (cgroup, machine) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_container_and_machine_counts() {
        let meminfo = "MemTotal:       2048 kB\nMemFree: 1 kB\n";
        assert_eq!(limit_of(Some("1048576\n"), Some(meminfo)), Some(1_048_576));
        assert_eq!(limit_of(Some("max\n"), Some(meminfo)), Some(2_097_152));
        assert_eq!(limit_of(Some("9999999999\n"), Some(meminfo)), Some(2_097_152));
        assert_eq!(limit_of(None, None), None);
    }
}
