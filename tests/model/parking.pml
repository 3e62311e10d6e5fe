/* How workers of a pool sleep and are woken (pool/parking.hpp): the word that counts who searches and who sleeps, the
 * permits, the two looks before the long sleep, and the end of the pool. spin looks at every interleaving; memory orders
 * are relacy's affair (parking.cpp). A lost wake-up shows as an execution that ends with work left and everybody asleep.
 * A job may bring another one (FORK), as a worker's own publishing does, or go on only when all are being run (MEET).
 * TIMEOUT: the short sleep may end by itself.
 *
 * holds: -DWORKERS=2 -DJOBS=3                               two workers
 * holds: -DWORKERS=3 -DJOBS=2                               three workers
 * holds: -DWORKERS=2 -DJOBS=2 -DTIMEOUT                     two workers, the short sleep ends
 * holds: -DWORKERS=3 -DJOBS=2 -DTIMEOUT                     three workers, the short sleep ends
 * holds: -DWORKERS=2 -DJOBS=2 -DFORK -DTIMEOUT              jobs that bring jobs
 * holds: -DWORKERS=2 -DJOBS=2 -DPRODUCERS=2                 two threads publish
 * holds: -DWORKERS=2 -DJOBS=2 -DMEET                        jobs that wait for each other: two workers are woken
 * holds: -DWORKERS=3 -DJOBS=3 -DMEET                        and three
 * found: -DWORKERS=2 -DJOBS=2 -DNO_NOTIFY                   who publishes notifies nobody
 * found: -DWORKERS=2 -DJOBS=2 -DNO_LOOK                     a worker does not look again before it sleeps
 * found: -DWORKERS=2 -DJOBS=2 -DLOOKS_FIRST                 it looks before it counts as asleep
 * found: -DWORKERS=2 -DJOBS=2 -DNOT_BACK                    it finds something and does not move itself back
 * found: -DWORKERS=2 -DJOBS=2 -DKEEPS_PERMIT                it was moved by a notify and does not take its permit
 * found: -DWORKERS=2 -DJOBS=2 -DMEET -DSILENT_SEARCHER      the last searcher that finds something notifies nobody
 * found: -DWORKERS=2 -DJOBS=2 -DSTILL_SEARCHING             who found something goes on counting as searching
 * found: -DWORKERS=2 -DJOBS=2 -DSTAYS_ASLEEP                a notify gives a permit and moves nobody
 * found: -DWORKERS=2 -DJOBS=1 -DWAKES_ONE_AT_END            the end of the pool wakes one worker
 * found: -DWORKERS=2 -DJOBS=1 -DEND_BEFORE_FLAG             the end wakes everybody, then says that it is the end
 */
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifdef FORK
#define TOTAL (2 * JOBS * PRODUCERS)
#else
#define TOTAL (JOBS * PRODUCERS)
#endif

byte work = 0, begun = 0, finished = 0, forks_left = JOBS * PRODUCERS;
byte searching = 0, sleeping = 0; /* one word: both change in one step */
byte permits = 0, ended = 0;
bool over = false;

/* word = load; while (nobody searches, somebody sleeps) if (exchanged) { release; break } */
inline notify() {
  bool moved = false;
  atomic {
    if
    :: searching == 0 && sleeping != 0 ->
#ifndef STAYS_ASLEEP
       sleeping--; searching++;
#endif
       moved = true
    :: else
    fi
  }
  if
  :: moved -> permits++; moved = false
  :: else
  fi
}

active [PRODUCERS] proctype producer() {
  byte n = 0;
  do
  :: n < JOBS ->
     work++;
#ifndef NO_NOTIFY
     notify();
#endif
     n++
  :: else -> break
  od;
  ended++
}

/* Ends the pool when everything was done. */
active proctype owner() {
  finished == TOTAL;
#ifndef END_BEFORE_FLAG
  over = true;
#endif
  do
  :: atomic { sleeping != 0 -> sleeping--; searching++ }
     permits++;
#ifdef WAKES_ONE_AT_END
     break
#endif
  :: atomic { sleeping == 0 -> skip } break
  od;
#ifdef END_BEFORE_FLAG
  over = true;
#endif
  ended == PRODUCERS + WORKERS;
  assert(searching == 0 && sleeping == 0 && permits == 0 && work == 0) /* every count is what it was */
}

active [WORKERS] proctype worker() {
  bool got = false, last = false, back = false;
works:
  /* It has work, or looks for some without counting as searching. */
  do
  :: atomic { work != 0 -> work-- }
     goto job
  :: atomic { work == 0 -> searching++ }
     break
  od;
search:
  if
  :: atomic { work != 0 -> work-- }
     /* end_search() */
#ifndef STILL_SEARCHING
     atomic { last = (searching == 1); searching-- }
#ifndef SILENT_SEARCHER
     if
     :: last -> notify()
     :: else
     fi
#endif
#endif
     goto job
  :: work == 0 && over ->
     searching--;
     goto finish
  :: work == 0 && !over
  fi;
  /* sleep() */
#ifdef LOOKS_FIRST
  got = (work != 0 || over);
  atomic { searching--; sleeping++ }
#else
  atomic { searching--; sleeping++ }
#ifndef NO_LOOK
  got = (work != 0 || over);
#endif
#endif
  if
  :: !got ->
     if
     :: atomic { permits != 0 -> permits-- }
        goto search
#ifdef TIMEOUT
     :: true ->
        got = (work != 0 || over);
        if
        :: !got ->
           atomic { permits != 0 -> permits-- }
           goto search
        :: else
        fi
#endif
     fi
  :: else
  fi;
  /* Something is there: back to the searchers, unless a notify has done that. */
  got = false;
#ifdef NOT_BACK
  goto search;
#endif
  atomic {
    back = (sleeping != 0);
    if
    :: back -> sleeping--; searching++
    :: else
    fi
  }
#ifndef KEEPS_PERMIT
  if
  :: !back -> atomic { permits != 0 -> permits-- }
  :: else
  fi;
#endif
  goto search;
job:
#ifdef FORK
  atomic {
    got = (forks_left != 0);
    if
    :: got -> forks_left--; work++
    :: else
    fi
  }
  if
  :: got -> got = false; notify()
  :: else
  fi;
#endif
#ifdef MEET
  begun++;
  begun == TOTAL;
#endif
  finished++;
  goto works;
finish:
  ended++
}
