#pragma once

namespace muonlab {

/// From now on SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) are noted instead of ending
/// the process at once; one that comes later ends it with exit code 130. Call it before any other
/// thread starts: threads inherit that they do not take these signals.
void catch_interrupts();
/// True if one has arrived.
bool interrupted();

}  // namespace muonlab
