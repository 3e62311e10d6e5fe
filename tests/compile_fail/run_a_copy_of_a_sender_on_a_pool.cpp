// expect: of a channel's end there may be another, x.clone()
#include <rota/rota.hpp>

rota::task<> produce(rota::thread_sender<int> tx);

rota::task<> wrong(rota::thread_pool& pool, rota::thread_sender<int>& tx) { co_await pool.run(produce, tx); }
