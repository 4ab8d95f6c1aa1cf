#pragma once

namespace muonlab {

/// From now on SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) are noted instead of ending
/// the process at once; a second one ends it with exit code 130.
void catch_interrupts();
/// True if one has arrived.
bool interrupted();

}  // namespace muonlab
