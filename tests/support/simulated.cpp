// Linked to the programs that also run without a kernel. Not to those that replace rota's system calls at compile time:
// one program cannot have both policies.
#include <rota/testing/simulated_backend.hpp>

void enable_simulated_backend() { rota::testing::enable_simulated_backend(); }
