/* A fork on a pool (pool/fork.hpp): children that are popped or stolen, the join counter, errors and cancels that cross
 * threads, and the strand's word by which the parent rests and is woken (pool/strand_inbox.hpp). spin looks at every interleaving;
 * memory orders are relacy's affair (strand_inbox.cpp, work_stealing_deque.cpp). Child 0 runs at home, the others are pushed.
 * A lost wake-up, or a child that nobody stops, shows as an execution that does not end.
 *
 * holds: -DN=2 -DTHIEVES=1                            two children, one thief
 * holds: -DN=3 -DTHIEVES=2                            three children, two thieves
 * holds: -DN=4 -DTHIEVES=2                            four children, two thieves
 * holds: -DN=3 -DTHIEVES=2 -DHOME_FAILS               the child at home fails: the stolen ones are stopped
 * holds: -DN=3 -DTHIEVES=2 -DSTOLEN_FAILS             a stolen child fails: those at home and elsewhere are stopped
 * holds: -DN=2 -DTHIEVES=1 -DSTOLEN_FAILS -DHOME_ENDS and while the parent waits for nobody else
 * holds: -DN=3 -DTHIEVES=2 -DCANCEL                   a cancel comes from outside
 * holds: -DN=3 -DTHIEVES=2 -DCANCEL -DSTOLEN_FAILS    both
 * found: -DN=2 -DTHIEVES=1 -DJOIN_NOT_ATOMIC          the parent adds to the counter in two steps
 * found: -DN=3 -DTHIEVES=2 -DEND_NOT_ATOMIC           a child subtracts in two steps
 * found: -DN=2 -DTHIEVES=1 -DWAKES_NOBODY             the last child does not wake the parent
 * found: -DN=3 -DTHIEVES=2 -DWAKES_ALWAYS             every child wakes the parent
 * found: -DN=2 -DTHIEVES=1 -DQUEUES_NOBODY            who finds the strand idle does not queue it
 * found: -DN=2 -DTHIEVES=1 -DRESTS_UNASKED            the strand rests although something was posted
 * found: -DN=3 -DTHIEVES=2 -DHOME_FAILS -DNO_LOOK     a thief does not look whether its child was stopped
 * found: -DN=3 -DTHIEVES=2 -DHOME_FAILS -DLOOKS_FIRST it looks before it says that it has the child
 * found: -DN=3 -DTHIEVES=2 -DHOME_FAILS -DNO_WALK     the parent stops nobody who has begun
 * found: -DN=3 -DTHIEVES=2 -DHOME_FAILS -DWALKS_FIRST it does so before it says that the children must stop
 * found: -DN=3 -DTHIEVES=2 -DSTOLEN_FAILS -DNO_NEWS   a stolen child that fails tells nobody
 * found: -DN=2 -DTHIEVES=1 -DSTOLEN_FAILS -DHOME_ENDS -DNEWS_LAST
 *                                                     it tells when it has been counted as ended
 * found: -DN=2 -DTHIEVES=1 -DSTOLEN_FAILS -DDEAF_AT_END -DHOME_ENDS
 *                                                     the parent goes on without having heard the last news
 */
#define NOTHING 0
#define IDLE 1
#define POSTS 2

byte top = 1, bottom = 1;              /* of the deque; each step of it is one step here */
bool has[N], told[N], ended[N];        /* a thief has added child i to the list; it was told to stop; it has ended */
bool listed[N];                        /* the list as the parent found it */
byte begun[N];
bool stop = false, alive = true;
short left = 0;                        /* the join counter */
byte word = NOTHING;                   /* of the parent's strand */
bool wake = false, news = false, cancel = false; /* posts in it */
bool queued = false, over = false;

inline post(what) {
  atomic {
    assert(!what);                     /* a message is in the list once */
    what = true;
    was_idle = (word == IDLE);
    word = POSTS
  }
#ifndef QUEUES_NOBODY
  if
  :: was_idle -> assert(!queued); queued = true; was_idle = false
  :: else
  fi
#endif
}

/* Which children a thief finds endless: they wait until they are told. */
#if defined(HOME_FAILS) || defined(STOLEN_FAILS) || defined(CANCEL)
#define ENDLESS 1
#else
#define ENDLESS 0
#endif

active [THIEVES] proctype thief() {
  byte i;
  bool last = false, was_idle = false, sees = false;
  short seen = 0;
  do
  :: atomic { top < bottom -> i = top; top++ }
     assert(alive);
#ifdef LOOKS_FIRST
     sees = stop;
#endif
     has[i] = true;
#ifndef LOOKS_FIRST
     sees = stop;
#endif
#ifdef NO_LOOK
     sees = false;
#endif
     if
     :: sees                           /* it never begins */
     :: else ->
        begun[i]++;
        if
#ifdef STOLEN_FAILS
        :: i == 1 ->
#ifndef NEWS_LAST
#ifndef NO_NEWS
           if
           :: !stop -> post(news)      /* each child has its own message; here one of them fails */
           :: else
           fi
#endif
#endif
#endif
        :: ENDLESS && i != 1 -> told[i]
#ifndef STOLEN_FAILS
        :: ENDLESS && i == 1 -> told[i]
#endif
        :: !ENDLESS
        fi
     fi;
     assert(alive);
     ended[i] = true;
#ifdef END_NOT_ATOMIC
     seen = left;
     left = seen - 1;
     last = (seen == 1);
#else
     atomic { left--; last = (left == 0) }
#endif
#if defined(STOLEN_FAILS) && defined(NEWS_LAST)
     if
     :: i == 1 && !sees -> assert(alive); post(news)
     :: else
     fi;
#endif
#ifdef WAKES_ALWAYS
     last = true;
#endif
#ifdef WAKES_NOBODY
     last = false;
#endif
     if
     :: last -> assert(alive); last = false; post(wake)
     :: else
     fi
  :: over -> break
  od
}

#ifdef CANCEL
active proctype canceller() {
  bool was_idle = false;
  post(cancel)
}
#endif

inline stop_children() {
  if
  :: stop
  :: else ->
#ifndef WALKS_FIRST
     stop = true;
#endif
#ifndef NO_WALK
     d_step {                          /* who comes later is in front of the head that was read */
       k = 1;
       do
       :: k < N -> listed[k] = has[k]; k++
       :: else -> break
       od
     }
     k = 1;
     do
     :: k < N ->
        if
        :: listed[k] -> told[k] = true
        :: else
        fi;
        k++
     :: else -> break
     od;
#endif
     stop = true;
     home_stopped = true
  fi
}
/* hear(): takes all posts. */
inline hear() {
  atomic {
    word = NOTHING;
    h_news = news; h_wake = wake; h_cancel = cancel;
    news = false; wake = false; cancel = false
  }
  if
  :: h_news || h_cancel -> h_news = false; h_cancel = false; stop_children()
  :: else
  fi
}
/* Rests until something comes, and hears it. */
inline rest() {
  if
#ifdef RESTS_UNASKED
  :: atomic { word = IDLE }
#else
  :: atomic { word == NOTHING -> word = IDLE }
#endif
     atomic { queued -> queued = false }
     at_home = false                   /* perhaps on another worker: its deque is not ours */
  :: word == POSTS
  fi;
  hear()
}

active proctype parent() {
  byte k = 0, popped = 0;
  bool home_stopped = false, at_home = true, h_news = false, h_wake = false, h_cancel = false, resumed = false, mine = false;
  short theirs = 0;

  bottom = N;                          /* pushes all at once */
  /* Child 0 */
  begun[0]++;
#ifdef HOME_FAILS
  stop_children();
#else
#ifndef HOME_ENDS
  if
  :: ENDLESS ->
     do
     :: !home_stopped -> rest(); resumed = resumed || h_wake; h_wake = false
     :: else -> break
     od
  :: else
  fi;
#endif
#endif
  ended[0] = true;
  /* Pops what is left to it. */
  do
  :: at_home ->
     atomic {
       mine = (top < bottom);
       if
       :: mine -> bottom--; k = bottom
       :: else
       fi
     }
     if
     :: mine ->
        popped++;
        if
        :: stop
        :: else -> begun[k]++
        fi;
        ended[k] = true
     :: else -> break
     fi
  :: !at_home -> break
  od;
  theirs = N - 1 - popped;
  if
  :: theirs == 0
  :: else ->
#ifdef JOIN_NOT_ATOMIC
     mine = false;
     theirs = theirs + left;
     left = theirs;
#else
     atomic { left = left + theirs; theirs = left }
#endif
     if
     :: theirs == 0
     :: else ->
        do
        :: !resumed -> rest(); resumed = resumed || h_wake; h_wake = false
        :: else -> break
        od
     fi
  fi;
  /* leave_slowly() */
#ifndef DEAF_AT_END
  if
  :: word == POSTS -> hear()
  :: else
  fi;
#endif
  k = 0;
  do
  :: k < N ->
     assert(ended[k] && begun[k] <= 1);
     if
     :: !stop -> assert(begun[k] == 1)
     :: else
     fi;
     k++
  :: else -> break
  od;
  assert(!news && !wake);              /* they lie in the fork */
  alive = false;
#ifdef CANCEL
  do
  :: stop -> break                     /* heard of within the fork */
  :: !stop -> rest()                   /* or later */
  od;
#endif
  over = true
}
