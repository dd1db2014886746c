// A request to stop at the next step boundary. Handlers only set an atomic; the trainer carries it to all ranks in the
// step tail.
#pragma once

namespace viaduct {

// SIGUSR1, SIGUSR2, SIGTERM and SIGINT ask for a stop. A second SIGINT or SIGTERM ends the process as if none was
// caught.
void catch_stop_signals();
bool stop_requested();
void request_stop();  // as if SIGUSR1 had come
void clear_stop_request();

}  // namespace viaduct
