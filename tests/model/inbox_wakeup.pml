/* How a post wakes an event loop: the inbox's word (loop/inbox.hpp), the eventfd, the wait of either reactor, and the end
 * of the loop. spin looks at every interleaving of these steps; what one atomic operation does is one step. Memory orders
 * are relacy's affair (inbox.cpp). A lost wake-up shows as an execution that ends with the loop asleep.
 *
 * holds: -DPOSTERS=1 -DPOSTS=3                        one poster, epoll
 * holds: -DPOSTERS=2 -DPOSTS=2                        two posters, epoll
 * holds: -DPOSTERS=3 -DPOSTS=1                        three posters, epoll
 * holds: -DPOSTERS=2 -DPOSTS=2 -DTIMER                the loop wakes by itself, too
 * holds: -DPOSTERS=2 -DPOSTS=2 -DIO_URING             two posters, io_uring
 * holds: -DPOSTERS=2 -DPOSTS=1 -DIO_URING -DTIMER     with timers
 * found: -DPOSTERS=1 -DPOSTS=1 -DNO_WAKE              the poster that finds the loop asleep does not wake it
 * found: -DPOSTERS=1 -DPOSTS=1 -DNO_RECHECK           the loop falls asleep without looking again
 * found: -DPOSTERS=1 -DPOSTS=1 -DSTAYS_ASLEEP -DTIMER a loop that took nothing goes on counting as asleep
 * found: -DPOSTERS=1 -DPOSTS=1 -DGOES_AT_ONCE         the loop does not wait for its posters
 * found: -DPOSTERS=1 -DPOSTS=1 -DCOUNTS_FIRST         the poster counts its wake-up before it is back
 * found: -DPOSTERS=2 -DPOSTS=2 -DCOUNTS_ALL           the loop counts a wake-up for every batch of posts
 * found: -DPOSTERS=1 -DPOSTS=2 -DIO_URING -DWAITS_ALTHOUGH_WOKEN
 *                                                     a wake-up that was reaped before the wait is waited for
 * found: -DPOSTERS=2 -DPOSTS=2 -DIO_URING -DNOT_ARMED_AGAIN
 *                                                     the poll of the eventfd is not armed again
 */
#define TOTAL (POSTERS * POSTS)

byte posts = 0;       /* in the inbox */
bool asleep = false;  /* the inbox's word says so */
byte wakeups = 0;
bool eventfd = false; /* its count is not 0 */
bool alive = true;    /* the loop */
#ifdef IO_URING
bool armed = false;   /* the ring polls the eventfd */
bool completion = false;

/* The kernel completes the poll, once, at some time after it became true. */
active proctype ring() {
end:
  do
  :: atomic { armed && eventfd && !completion -> completion = true; armed = false }
  od
}
#endif

active [POSTERS] proctype poster() {
  byte n = 0;
  bool must_wake = false;
  do
  :: n < POSTS ->
     atomic { must_wake = asleep; asleep = false; posts++ }
     if
     :: must_wake ->
#ifdef COUNTS_FIRST
        wakeups++;
#endif
        assert(alive);
#ifndef NO_WAKE
        eventfd = true;
#endif
        assert(alive); /* the system call returns */
#ifndef COUNTS_FIRST
        wakeups++
#endif
     :: else
     fi;
     n++
  :: else -> break
  od
}

active proctype loop() {
  byte received = 0, taken = 0, owed = 0;
  bool may_wait = false, fell_asleep = false;
#ifdef IO_URING
  bool woken = false, known = false; /* known: to the kernel is a poll that has not been reaped */
#endif
  do
  :: received < TOTAL ->
#ifdef NO_RECHECK
     may_wait = (posts == 0);
     if
     :: may_wait -> atomic { asleep = true; fell_asleep = true }
     :: else
     fi;
#else
     atomic {
       may_wait = (posts == 0);
       if
       :: may_wait -> asleep = true; fell_asleep = true
       :: else
       fi
     }
#endif
#ifdef IO_URING
     woken = false;
     if
     :: completion -> completion = false; known = false; eventfd = false; woken = true
     :: else
     fi;
#ifdef NOT_ARMED_AGAIN
     if
     :: !known && received == 0 -> known = true; armed = true
     :: else
     fi;
#else
     if
     :: !known -> known = true; armed = true
     :: else
     fi;
#endif
#ifdef WAITS_ALTHOUGH_WOKEN
     woken = false;
#endif
     if
     :: may_wait && !woken ->
        if
        :: completion
#ifdef TIMER
        :: true
#endif
        fi
     :: else
     fi;
     if
     :: completion -> completion = false; known = false; eventfd = false
     :: else
     fi;
#else
     if
     :: may_wait ->
        if
        :: eventfd -> eventfd = false
#ifdef TIMER
        :: true
#endif
        fi
     :: !may_wait && eventfd -> eventfd = false
     :: !may_wait && !eventfd
     fi;
#endif
     atomic {
       taken = posts;
       posts = 0;
#ifdef COUNTS_ALL
       owed = owed + (taken != 0);
#else
       owed = owed + (fell_asleep && !asleep);
#endif
       fell_asleep = false;
#ifdef STAYS_ASLEEP
       if
       :: taken != 0 -> asleep = false
       :: else
       fi
#else
       asleep = false
#endif
     }
     received = received + taken
  :: else -> break
  od;
#ifndef GOES_AT_ONCE
  wakeups == owed;
#endif
  alive = false
}
