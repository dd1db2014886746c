// What has to be settled before anything else in main.
#pragma once

namespace viaduct {

// Starts the program a second time with OMP_WAIT_POLICY=passive, unless the user chose a policy: libgomp reads it when
// it is loaded, and threads of ranks that share cores otherwise spin against each other (measured: 0.29 s against 0.002
// s). GOMP_SPINCOUNT=1000 beside it bridges the microseconds between two loops (2 % of a ViT-B step on two threads).
void prepare_process(char** argv);

// Ends the program with exit code 4 and a sentence if this CPU lacks what the compiler was allowed to use. Runs by
// itself before static initialisers; prepare_process names it so that it is linked.
void require_cpu();

}  // namespace viaduct
