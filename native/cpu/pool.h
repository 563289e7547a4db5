// The compute threads of the process, shared by every environment in it.
#pragma once
#include "../kernels.h"

namespace fw {

// At first as many as there are cores to use.
int num_threads();
// 1 means serial. Must not be called from inside a task.
void set_num_threads(int n);

// What kernels run with. Any thread may call `run`; while another thread has the workers, it runs its tasks alone.
Context pool_context();

// Memory that kernels keep for their own use, of all threads.
int64_t scratch_bytes();
// Frees that of the calling thread; and of the workers, too, once the region that runs is over. Not from inside a task.
void trim_own_scratch();
void trim_scratch();

// Environments that may start work; the last one to leave joins the workers.
void pool_enter();
void pool_leave();

}  // namespace fw
