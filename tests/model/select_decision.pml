/* Selects that give on one channel and take from another one (sync/select_decision.hpp), where nothing is kept: an item
 * goes from hand to hand. Each channel has a lock and who waits there; each select a decision. A select stands in its
 * lists one after the other; whoever comes to a channel and finds somebody waiting claims both before the item moves. spin
 * looks at every interleaving. PLAIN threads wait in one list, without a decision; the first select, and the third, may be
 * cancelled (CANCELS). At the end of everything two that could serve each other must not both wait: a meeting was lost.
 *
 * holds: -DSELECTS=2                                        two selects crosswise
 * holds: -DSELECTS=3                                        three, two of them alike
 * holds: -DSELECTS=2 -DPLAIN=2                              and a thread that gives, and one that takes
 * holds: -DSELECTS=3 -DPLAIN=1                              three selects and a thread
 * holds: -DSELECTS=2 -DPLAIN=2 -DCANCELS                    cancelled at any time
 * holds: -DSELECTS=3 -DCANCELS                              and three
 * found: -DSELECTS=2 -DPLAIN=1 -DNO_CLAIM                   a giver does not ask whether the other one is decided
 * found: -DSELECTS=2 -DPLAIN=2 -DOWN_UNCLAIMED              who comes claims the one who waits, not itself
 * found: -DSELECTS=2 -DUNORDERED                            two decisions are locked, the own one first
 * found: -DSELECTS=2 -DPLAIN=2 -DONE_BY_ONE                 the own decision is made before it is known that the other is free
 * found: -DSELECTS=2 -DBUSY_IS_LOST                         a decision that somebody looks at counts as made
 * found: -DSELECTS=2 -DNO_LOOK                              a select stands in a list without looking at the other side there
 * found: -DSELECTS=2 -DPLAIN=2 -DCANCELS -DNEXT_IS_FORGOTTEN a giver that meets a loser does not go on to the next one
 * found: -DSELECTS=2 -DPLAIN=1 -DSTAYS                      a select goes on without leaving its lists
 * found: -DSELECTS=2 -DPLAIN=1 -DCANCELS -DCANCEL_UNCLAIMED a cancel does not claim the decision
 */
#ifndef PLAIN
#define PLAIN 0
#endif
#define ALL (SELECTS + PLAIN)
#define NONE 2

bool locked[2];                      /* channels */
bool waits[20];                      /* waits there: PLACE(side, channel, who) */
bool deciding[ALL], decided[ALL];    /* a decision's lock, and whether it is made */
bool told[ALL], gone[ALL];
byte had[ALL];                       /* how many things happened to it */
byte given = 0, taken = 0, ended = 0;
bool over = false;

#define GIVERS 0
#define TAKERS 1
#define PLACE(side, channel, who) ((side) * 10 + (channel) * 5 + (who))
#define IS_SELECT(p) (p < SELECTS)
/* The first and the third give on 0 and take from 1, the second the other way round; then a giver on 0, a taker from 1. */
#define GIVES_ON(p) (p < SELECTS -> p % 2 : (p == SELECTS -> 0 : NONE))
#define TAKES_FROM(p) (p < SELECTS -> 1 - p % 2 : (p == SELECTS -> NONE : 1))

inline lock_decision(p) { atomic { !deciding[p] -> deciding[p] = true } }
inline unlock_decision(p) { deciding[p] = false }

/* Both or none: ok. Threads have nothing to claim: theirs is never locked by anybody else, nor made before they leave. */
inline claim_both(me, other) {
#if defined(NO_CLAIM)
  ok = !decided[me];
  decided[me] = true; decided[other] = true;
#elif defined(OWN_UNCLAIMED)
  lock_decision(other);
  ok = !decided[other]; decided[other] = true;
  unlock_decision(other);
  decided[me] = true;
#elif defined(ONE_BY_ONE)
  lock_decision(me);
  ok = !decided[me]; decided[me] = true;
  unlock_decision(me);
  if
  :: ok ->
     lock_decision(other);
     ok = !decided[other]; decided[other] = true;
     unlock_decision(other)
  :: else
  fi;
#elif defined(BUSY_IS_LOST)
  lock_decision(me);
  if
  :: atomic { !deciding[other] -> deciding[other] = true }
     ok = !decided[me] && !decided[other];
     if
     :: ok -> decided[me] = true; decided[other] = true
     :: else
     fi;
     unlock_decision(other)
  :: else -> ok = false
  fi;
  unlock_decision(me);
#else
#ifdef UNORDERED
  lock_decision(me); lock_decision(other);
#else
  if
  :: me < other -> lock_decision(me); lock_decision(other)
  :: else -> lock_decision(other); lock_decision(me)
  fi;
#endif
  ok = !decided[me] && !decided[other];
  if
  :: ok -> decided[me] = true; decided[other] = true
  :: else
  fi;
  unlock_decision(other); unlock_decision(me);
#endif
}

/* Under the channel's lock: somebody who waits on the other side, or ALL. */
inline find(side) {
  q = 0;
  do
  :: q < ALL && !waits[PLACE(side, at, q)] -> q++
  :: else -> break
  od
}

/* Whoever comes to `at` and finds somebody in `others`; else it stands in `own`. */
inline meet(others, own) {
  atomic { !locked[at] -> locked[at] = true }
  stands = true;
#ifndef NO_LOOK
  do
  :: true ->
     d_step { find(others) }
     if
     :: q == ALL -> break
     :: else
     fi;
     assert(!gone[q]); /* whom a list knows is still there */
     claim_both(me, q);
     if
     :: ok ->
        atomic {
          waits[PLACE(others, at, q)] = false;
          had[me]++; had[q]++; given++; taken++;
          told[q] = true;
          stands = false
        }
        break
     :: else ->
        if
        :: decided[me] -> stands = false; break
        :: else -> waits[PLACE(others, at, q)] = false
        fi
     fi;
#ifdef NEXT_IS_FORGOTTEN
     break
#endif
  od;
#endif
  if
  :: stands -> waits[PLACE(own, at, me)] = true
  :: else
  fi;
  locked[at] = false
}

inline leave(side) {
  atomic { !locked[at] -> locked[at] = true }
  waits[PLACE(side, at, me)] = false;
  locked[at] = false
}

proctype one(byte me) {
  byte at = 0, q = 0;
  bool ok = false, stands = true, cancelled = false;
  at = GIVES_ON(me);
  if
  :: at != NONE -> meet(TAKERS, GIVERS)
  :: else
  fi;
  at = TAKES_FROM(me);
  if
  :: at != NONE && stands -> meet(GIVERS, TAKERS)
  :: else
  fi;
  if
  :: !stands && had[me] != 0 && !told[me]  /* it came and got it */
  :: else ->
     if
     :: told[me]
#ifdef CANCELS
     :: over || (IS_SELECT(me) && me % 2 == 0) ->
#else
     :: over ->
#endif
#ifdef CANCEL_UNCLAIMED
        cancelled = true;
#else
        lock_decision(me);
        if
        :: !decided[me] -> decided[me] = true; cancelled = true
        :: else
        fi;
        unlock_decision(me);
#endif
        if
        :: !cancelled -> told[me]
        :: else
        fi
     fi
  fi;
#ifdef STAYS
  if
  :: !IS_SELECT(me)
  :: else -> gone[me] = true
  fi;
#endif
  at = GIVES_ON(me);
  if
  :: at != NONE -> leave(GIVERS)
  :: else
  fi;
  at = TAKES_FROM(me);
  if
  :: at != NONE -> leave(TAKERS)
  :: else
  fi;
  gone[me] = true;
  assert(had[me] == (cancelled -> 0 : 1)); /* one thing, or nothing */
  ended++
}

init {
  byte p = 0;
  atomic {
    do
    :: p < ALL -> run one(p); p++
    :: else -> break
    od
  }
  /* Whoever can still do something has done it. */
  do
  :: ended == ALL -> break
  :: timeout ->
     byte g = 0, t = 0;
     d_step {
       assert(!over); /* and nobody is stuck then */
       do
       :: g < ALL ->
          t = 0;
          do
          :: t < ALL ->
             assert(g == t || GIVES_ON(g) == NONE || GIVES_ON(g) != TAKES_FROM(t) || decided[g] || decided[t]);
             t++
          :: else -> break
          od;
          g++
       :: else -> break
       od;
       over = true
     }
  od;
  assert(given == taken)
}
