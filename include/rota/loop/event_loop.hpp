// The event loop: resumes tasks, fires timers, talks to the kernel through a reactor. One thread. To be read in this order:
//
//   event_loop_class   what it offers, and what it is made of
//   loop_iteration     its one `while`: poll, then run what is ready
//   loop_tasks         what it does when a task is made, cancelled, ends
//   loop_shutdown      how it ends
//   loop_access        what the rest of the library needs of it
#pragma once

#include <rota/loop/event_loop_class.hpp>
#include <rota/loop/loop_access.hpp>
#include <rota/loop/loop_iteration.hpp>
#include <rota/loop/loop_shutdown.hpp>
#include <rota/loop/loop_tasks.hpp>
