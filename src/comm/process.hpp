// What has to be settled before anything else in main.
#pragma once

namespace viaduct {

// Starts the program a second time with OMP_WAIT_POLICY=passive, unless the user chose a policy: libgomp reads it when
// it is loaded, and threads of ranks that share cores otherwise spin against each other (measured: 0.29 s against 0.002
// s). That this CPU has what the binary was compiled for is checked even earlier, before static initialisers; exit 4 if
// not.
void prepare_process(char** argv);

}  // namespace viaduct
