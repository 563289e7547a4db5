// Asynchronous copies into shared memory that the threads of the block have under way.
#pragma once

namespace emulation {

// At the beginning and the end of a thread's run: what it has issued it must have waited for.
void forget_copies(int thread);
void end_copies(int thread);

}  // namespace emulation
