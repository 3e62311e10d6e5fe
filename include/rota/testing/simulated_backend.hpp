// ROTA_BACKEND=simulated: every event loop of a program that includes this header gets a world of its own, without a
// kernel and in virtual time. One host, loopback only; no faults unless ROTA_SEED is set. For a test suite that is to run
// on three backends; a single test says more with run_simulated or simulation.
#pragma once

#include <rota/reactor/open_reactor.hpp>
#include <rota/testing/simulated_reactor.hpp>

namespace rota::testing {

/// Call it before the first loop is made.
inline void enable_simulated_backend() noexcept {
  detail::open_simulated_reactor = [] {
    return detail::owned<detail::reactor>(new detail::simulated_reactor(simulation_options()));
  };
}

}  // namespace rota::testing
