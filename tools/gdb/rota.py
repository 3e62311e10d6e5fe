"""Looks into coroutine frames, in a stopped program or a core file:

    (gdb) source tools/gdb/rota.py
    (gdb) rota-tasks            every task of every event loop, with its chain of awaits
    (gdb) rota-frame 0x55...    parameters and locals of a frame that rota-tasks, or rota_dump_tasks(), has named
"""
import re

import gdb

# What compilers add to a frame for themselves.
HIDDEN = re.compile(r"(_Coro|__|_D|_T|D\.|(Is|Fs|Aw\d*|Yd\d*)_\d)|(class|struct|union|enum)_|PointerType")

def word(address):
    return int.from_bytes(bytes(gdb.selected_inferior().read_memory(address, 8)), "little")


def resume_function(frame):
    """The function that runs the frame; its address is the frame's first word. None once the coroutine has ended."""
    block = gdb.block_for_pc(word(frame)) if word(frame) else None
    while block and not block.function:
        block = block.superblock
    return block


def promise_of(frame):
    return gdb.Value(frame + 16).cast(gdb.lookup_type("rota::detail::promise_base").pointer()).dereference()


def name_of(frame):
    """The coroutine of a frame. GCC calls the function that runs it by the name of its parameter."""
    block = resume_function(frame)
    return re.sub(r"\(_Z\w*\.Frame \*\)", "", block.function.name) if block else "?"


def place(frame):
    at = promise_of(frame)["waits_at"]["_M_impl"]
    return f'{at["_M_file_name"].string()}:{int(at["_M_line"])}'


def frame_value(frame, block):
    """GCC calls the frame frame_ptr, clang __coro_frame (without optimisation)."""
    for symbol in block or []:
        if symbol.name == "frame_ptr":
            return gdb.Value(frame).cast(symbol.type).dereference()
        if symbol.name == "__coro_frame":
            return gdb.Value(frame).cast(symbol.type.strip_typedefs().pointer()).dereference()
    return None


class Frame(gdb.Command):
    """rota-frame ADDRESS: parameters and locals of a suspended coroutine."""

    def __init__(self):
        super().__init__("rota-frame", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        frame = int(gdb.parse_and_eval(argument))
        print(f"{name_of(frame)}, waits at {place(frame)}")
        value = frame_value(frame, resume_function(frame))
        if value is None:
            print("  this build does not tell where its locals are (clang tells it without optimisation only)")
            return
        for field in value.type.fields():
            if field.name and not HIDDEN.match(field.name):
                print(f"  {re.sub('(_[0-9]+){2}$', '', field.name)} = {value[field]}")


class Tasks(gdb.Command):
    """rota-tasks: every task of every event loop, innermost await first."""

    def __init__(self):
        super().__init__("rota-tasks", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        try:
            slots = gdb.parse_and_eval("'rota::detail::registry<rota::detail::registered_loop>::slots'")
            low, high = slots.type.range()
        except gdb.error:
            raise gdb.GdbError("rota: no debug information; compile with -g, or try: call (void)rota_dump_tasks()")
        for i in range(low, high + 1):
            registered = int(slots[i]["_M_b"]["_M_p"])
            if registered:
                entry = gdb.Value(registered).cast(gdb.lookup_type("rota::detail::registered_loop").pointer())
                loop = entry["loop"].referenced_value()
                print(f"event loop {hex(int(loop.address))}, {int(loop['tasks_'])} tasks")
                self.below(loop["root_"].address.cast(gdb.lookup_type("rota::scope_node").pointer()), 0)

    def below(self, node, depth):
        child = node["first_"]
        while child:
            is_task = int(child["flags_"]) & 8
            if is_task:
                self.show(child.cast(gdb.lookup_type("rota::detail::task_state").pointer()), depth)
            self.below(child, depth + 1 if is_task else depth)
            child = child["next_"]

    def show(self, task, depth):
        indent = "  " * depth
        root = int(task["frame_"])
        print(f"{indent}- task{self.name(task)}")
        frame = self.innermost(int(task["wait"])) or root
        while True:
            name = name_of(frame)
            if not name.startswith("rota::detail::"):
                print(f"{indent}    {name} at {place(frame)}  frame {hex(frame)}")
            if frame == root:
                return
            frame = int(promise_of(frame)["outcome"].cast(gdb.lookup_type("unsigned long").pointer()).dereference()) & ~15

    @staticmethod
    def name(task):
        extras = int(task["joiners_or_extras_"])
        if extras & 1 == 0:
            return ""
        text = gdb.Value(extras - 1).cast(gdb.lookup_type("rota::detail::task_extras").pointer())["name"]
        text = text["_M_dataplus"]["_M_p"].string()
        return f" '{text}'" if text else ""

    @staticmethod
    def innermost(wait):
        """What the task waits for knows the suspended frame; its kind is in the low bits of the word."""
        kind, address = wait & 7, wait & ~7
        if not address:
            return 0
        of = {0: ("rota::detail::custom_wait", "frame"), 1: ("rota::detail::loop_timer", "target"),
              2: ("rota::detail::operation", "waiter")}[kind]
        return int(gdb.Value(address).cast(gdb.lookup_type(of[0]).pointer())[of[1]])


Frame()
Tasks()
