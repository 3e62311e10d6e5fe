// expect: an argument that cannot be copied is handed over, std::move(x)
#include <rota/rota.hpp>

rota::task<> session(rota::tcp_stream peer);

void start(rota::tcp_stream& peer) { (void)rota::spawn(session, peer); }
