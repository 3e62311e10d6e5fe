#!/usr/bin/env python3
"""Plants one fault of each kind into a sound tree and expects layers.py to report that one, and only that one."""
import tempfile
import unittest
from pathlib import Path

import layers

SOUND = {
    "rota.hpp": ["<rota/net/tcp.hpp>", "<rota/base/error.hpp>", "<rota/loop/sleep.hpp>"],
    "base/error.hpp": ["<system_error>", "<errno.h>"],
    "reactor/operation.hpp": ["<rota/base/error.hpp>", "<sys/socket.h>"],
    "reactor/open_reactor.hpp": ["<rota/reactor/io_uring/ring.hpp>"],
    "reactor/io_uring/ring.hpp": ["<liburing.h>", "<rota/reactor/operation.hpp>"],
    "coro/task.hpp": ["<coroutine>", '"../base/error.hpp"'],
    "loop/event_loop.hpp": ["<rota/coro/task.hpp>", "<rota/reactor/open_reactor.hpp>"],
    "loop/sleep.hpp": ["<rota/loop/event_loop.hpp>"],
    "net/tcp.hpp": ["<rota/loop/event_loop.hpp>", "<rota/reactor/operation.hpp>", "<netinet/in.h>"],
    "testing/run_simulated.hpp": ["<rota/reactor/io_uring/ring.hpp>", "<rota/loop/event_loop.hpp>"],
    "ext/tls/tls_stream.hpp": ["<openssl/ssl.h>", "<rota/net/tcp.hpp>"],
}


def faults_with(**planted):
    """The faults of the sound tree after adding the planted includes; a key `a__b` is the header a/b.hpp."""
    tree = {name: list(includes) for name, includes in SOUND.items()}
    for key, includes in planted.items():
        tree.setdefault(key.replace("__", "/") + ".hpp", []).extend(includes)
    with tempfile.TemporaryDirectory() as root:
        for name, includes in tree.items():
            path = Path(root, "include", "rota", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#pragma once\n" + "".join(f"#include {text}\n" for text in includes))
        return layers.check(root)


class PlantedFaults(unittest.TestCase):
    def expect(self, text, **planted):
        faults = faults_with(**planted)
        self.assertTrue(any(text in fault for fault in faults), faults)
        return faults

    def expect_only(self, text, **planted):
        self.assertEqual(len(self.expect(text, **planted)), 1)

    def test_a_sound_tree_has_none(self):
        self.assertEqual(faults_with(), [])

    def test_an_empty_tree_is_a_fault(self):
        with tempfile.TemporaryDirectory() as root:
            self.assertEqual(layers.check(root), ["include/rota has no headers"])

    def test_wrong_direction(self):
        self.expect("base/ may not include coro/", base__error=["<rota/coro/task.hpp>"])
        self.expect("coro/ may not include reactor/", coro__task=["<rota/reactor/operation.hpp>"])
        self.expect("loop/ may not include net/", loop__sleep=["<rota/net/tcp.hpp>"])
        self.expect_only("net/ may not include reactor/", net__tcp=["<rota/reactor/open_reactor.hpp>"])
        self.expect("net/ may not include testing/", net__tcp=["<rota/testing/run_simulated.hpp>"])

    def test_wrong_direction_through_a_relative_path(self):
        self.expect("coro/ may not include reactor/", coro__task=['"../reactor/operation.hpp"'])

    def test_a_backend_included_past_open_reactor(self):
        self.expect_only("a backend's folder", loop__event_loop=["<rota/reactor/io_uring/ring.hpp>"])

    def test_an_umbrella_included_by_a_layer(self):
        self.expect("an umbrella is for users only", loop__sleep=["<rota/rota.hpp>"])

    def test_ext_in_the_umbrella(self):
        self.expect_only("ext/ stays out of umbrellas", rota=["<rota/ext/tls/tls_stream.hpp>"])

    def test_a_costly_header_in_the_umbrella(self):
        costly = {"adapt__spawn_threadsafe": ["<future>"]}
        self.assertEqual(faults_with(**costly), [])
        self.expect_only("for the sake of <future>", rota=["<rota/adapt/spawn_threadsafe.hpp>"], **costly)

    def test_one_folder_of_ext_included_by_another(self):
        self.expect_only("do not know each other", ext__curl__curl_multi=["<rota/ext/tls/tls_stream.hpp>"])

    def test_a_cycle(self):
        self.expect("a cycle", loop__event_loop=["<rota/loop/sleep.hpp>"])

    def test_a_third_party_header(self):
        self.expect_only("third-party headers belong to ext/", net__tcp=["<openssl/ssl.h>"])
        self.expect_only("third-party headers belong to ext/", net__tcp=["<zlib.h>"])

    def test_liburing_outside_its_backend(self):
        self.expect("liburing belongs to", loop__sleep=["<liburing.h>"])

    def test_equal_file_names(self):
        self.expect_only("equal file names", rota=["<rota/net/error.hpp>"], net__error=[])

    def test_a_header_that_the_umbrella_misses(self):
        self.expect_only("rota.hpp does not reach it", net__udp=[])

    def test_an_include_that_does_not_exist(self):
        self.expect_only("does not exist", net__tcp=["<rota/net/gone.hpp>"])

    def test_a_folder_without_a_place(self):
        self.expect("has no place in the table", misc__thing=[])

    def test_coroutine_in_the_reactor(self):
        self.expect("reaches <coroutine>", reactor__operation=["<coroutine>"])
        self.expect("reaches <coroutine>", base__error=["<coroutine>"])

    def test_a_kernel_header_in_coro(self):
        for header in ("<sys/epoll.h>", "<sys/socket.h>", "<linux/io_uring.h>", "<netinet/in.h>"):
            self.expect_only("reaches the kernel header", coro__task=[header])


if __name__ == "__main__":
    unittest.main()
