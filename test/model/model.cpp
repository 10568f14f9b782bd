/*-------------------------------------------------------------------------
 *
 * model.cpp
 *	  Explicit-state model checker for the publisher's protocol.
 *
 * Goes breadth first over every interleaving of clients, publisher, producers,
 * broker, operator, crashes and failover in a bounded world (scenarios.h), and
 * holds what is promised against each state; the first violation is printed
 * with its shortest trace.  One file on purpose: state, actions, checks, and the
 * rules that can be broken (Mut).  It knows nothing of how the server module is
 * written, only the rules that README.md states.
 *
 *	  model [--stored-open] SCENARIO RULE [LIMIT]
 *
 * RULE is "none" or the name of the rule to break.  LIMIT is the number of
 * states after which it gives up.  Exit status: 0 all states were seen and none
 * violates anything, 1 violation, 2 wrong usage, 3 given up.
 *
 * IDENTIFICATION
 *	  test/model/model.cpp
 *
 *-------------------------------------------------------------------------
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <deque>
#include <unordered_map>
#include <algorithm>
using namespace std;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* bounds: snapshots are sets of xids, 32 bits wide; the rest keeps states small */
enum
{
	ME = 6,	  /* events */
	MT = 4,	  /* transactions of clients */
	MB = 3,	  /* batches in flight */
	ML = 7,	  /* WAL records that a crash or failover may undo, and the one before them */
	MQ = 8,	  /* messages in a producer */
	MXID = 30 /* xids; states beyond are counted as pruned, of which there must be none */
};

/* ---------- rules that can be broken; what each says is in check ---------- */
enum Mut
{
	M_NONE,
	IDCURSOR,
	XIDCUT,
	ORDERXID,
	SNAPINXID,
	NOGEN,
	NOBARRIER,
	OUTOFORDER,
	HOLDOPEN,
	HOLDMEM,
	EARLYDEL,
	DELATOPEN,
	ROTHELD,
	ROTSTALE,
	PARKLOST,
	NONGAPLESS,
	POSMAX,
	POSUNION,
	NOJOINBAR,
	HELDRESEND,
	ORPHANRACE,
	NOSKIP,
	DEADLATE,
	KEYDONE,
	REUSEXID,
	KEYFIRST,
	LATEREFUSE,
	HOLDKEYJOIN,
	ORPHANRACE2,
	ROWPOS,
	NMUT
};

static const char *mutname[] = {
	"none",		 "idcursor",   "xidcut",	 "orderxid",	"snapinxid",  "nogen",
	"nobarrier", "outoforder", "holdopen",	 "holdmem",		"earlydel",	  "delatopen",
	"rotheld",	 "rotstale",   "parklost",	 "nongapless",	"posmax",	  "posunion",
	"nojoinbar", "heldresend", "orphanrace", "noskip",		"deadlate",	  "keydone",
	"reusexid",	 "keyfirst",   "laterefuse", "holdkeyjoin", "orphanrace2", "rowpos"};
static Mut mut = M_NONE;

/*
 * Whether `open` is stored only together with a position, as the extension does,
 * or always, durably, before the first event of a batch is sent.
 */
static bool lazy = true;

/* ---------- scenario ---------- */
struct Scenario
{
	const char *name;
	int nE, nT;
	u8 key[ME], topic[ME];
	vector<vector<int>> script; /* op: 100 = assign xid early, 0.. = emit event e */
	u8 ends[MT];				/* 1 sync commit, 2 async commit, 4 abort, 8 prepare */
	u8 poison;					/* events that the broker refuses until fixed */
	/* how often: server crashes, publisher dies, producer dies, failover, topic 0 is held */
	u8 bSrv, bPub, bProd, bFail, bHold;
	int maxB;
	bool rot, pos, orphan, discard, adopt;
};

static Scenario sc;

/* ---------- state ---------- */
#pragma pack(push, 1)

struct Hold
{
	u8 on, hasOpen, pos;
	u32 done, open;
};

struct DB
{
	/* what WAL replay gives: an image per WAL record */
	u8 nextXid, nextId, tx[MT], rows, id[ME], xid[ME], seg, hasOpen, pos, idc;
	u32 done, open;
	Hold h[2];
	u8 dead, retry, disc, gone;
};

struct Batch
{
	u32 lo, hi;
	u8 barrier, mem, join;
};

struct Inst
{
	u8 n, ev[MQ], st[MQ];
}; /* st 0 queued, 1 delivered and not yet reported */

struct RT
{
	u8 nextXid, lc, pc[MT], xid[MT], up, nb, pubXid, rotSnap, rotOn, parkKnown;
	Batch b[MB];
	u8 hbOn;
	Batch hb;
	u8 acked, deadMem;
	Inst in[2];
	u8 delivered, fixed, pred[ME], bSrv, bPub, bProd, bFail, bHold, kact, lastByNew;
	u8 memHold;
	u32 memHoldDone;
	u8 phantom;
};

struct State
{
	u8 n, flush;
	RT r;
	DB log[ML];
};

#pragma pack(pop)

static inline size_t ssize(const State &s)
{
	return 2 + sizeof(RT) + s.n * sizeof(DB);
}

static inline bool vis(u32 s, u8 x)
{
	return s >> x & 1;
}

#define CUR(s) ((s).log[(s).n - 1])

struct Succ
{
	State s;
	const char *what;
	int a, b;
};

static vector<Succ> out;
static string viol;
static u64 pruned;

static void V(const char *m, int e)
{
	if (viol.empty())
	{
		viol = m;
		viol += " e";
		viol += char('0' + e);
	}
}

static DB &app(State &s)
{
	s.log[s.n] = s.log[s.n - 1];
	s.n++;
	return s.log[s.n - 1];
}

static void compress(State &s, bool standby = false)
{
	if (s.r.bFail && !standby)
		return;
	int f = s.flush;
	if (!f)
		return;
	memmove(&s.log[0], &s.log[f], (s.n - f) * sizeof(DB));
	s.n -= f;
	s.flush = 0;
}

static void flushall(State &s)
{
	s.flush = s.n - 1;
	compress(s);
}

static bool room(const State &s, int k = 1)
{
	return s.n + k <= ML;
}

static bool inprog(const State &s, int t)
{
	return s.r.xid[t] && (CUR(s).tx[t] < 3) && s.r.pc[t] != 255;
}

static u32 snapshot(const State &s)
{ /* PostgreSQL: xmax = latestCompleted+1, own xid never in xip */
	u32 m = (2u << s.r.lc) - 1;
	for (int t = 0; t < sc.nT; t++)
		if (inprog(s, t))
			m &= ~(1u << s.r.xid[t]);
	return m;
}

static bool committed(const DB &d, int e);
static u8 evtx[ME]; /* event -> tx (255: written by the publisher itself, "adopted") */

static bool committed(const DB &d, int e)
{
	return (d.rows >> e & 1) && (evtx[e] == 255 || d.tx[evtx[e]] == 3);
}

static bool cov(const Hold &h, const DB &d, int e)
{
	return vis(h.done, d.xid[e]) || (h.hasOpen && vis(h.open, d.xid[e]) && d.id[e] <= h.pos);
}

static bool covmain(const DB &d, int e)
{
	if (mut == IDCURSOR)
		return d.id[e] <= d.idc;
	return vis(d.done, d.xid[e]) || (d.hasOpen && vis(d.open, d.xid[e]) && d.id[e] <= d.pos);
}

static u8 pkey; /* key of the poison event */

static bool keyheld(const State &s, const DB &d, int e)
{
	return d.h[1].on && sc.key[e] == pkey && !(mut == PARKLOST && !s.r.parkKnown);
}

static bool topheld(const State &s, const DB &d, int e)
{
	return (d.h[0].on || (mut == HOLDMEM && s.r.memHold)) && sc.topic[e] == 0;
}

static bool published(const State &s, const DB &d, int e)
{
	if (keyheld(s, d, e))
		return cov(d.h[1], d, e);
	if (topheld(s, d, e))
	{
		Hold h = d.h[0];
		if (mut == HOLDMEM)
		{
			h.done = s.r.memHoldDone;
			h.hasOpen = 0;
		}
		return cov(h, d, e);
	}
	return covmain(d, e);
}

static u8 pubtx(State &s)
{
	u8 x = s.r.nextXid++;
	DB &d = CUR(s);
	if (d.nextXid < s.r.nextXid)
		d.nextXid = s.r.nextXid;
	s.r.lc = max(s.r.lc, x);
	return x;
}

static bool inInst(const Inst &i, int e)
{
	for (int k = 0; k < i.n; k++)
		if (i.ev[k] == e)
			return true;
	return false;
}

static vector<int> order(const DB &d, u8 mem)
{
	vector<int> v;
	for (int e = 0; e < sc.nE; e++)
		if (mem >> e & 1)
			v.push_back(e);
	sort(v.begin(), v.end(),
		 [&](int a, int b)
		 {
			 if (mut == ORDERXID && d.xid[a] != d.xid[b])
				 return d.xid[a] < d.xid[b];
			 return d.id[a] < d.id[b];
		 });
	return v;
}

static u8 members(const State &s, int i)
{ /* read batch i of the main stream */
	const DB &d = CUR(s);
	u8 m = 0;
	const Batch &b = s.r.b[i];
	for (int e = 0; e < sc.nE; e++)
	{
		if (!committed(d, e) || !vis(b.hi, d.xid[e]))
			continue;
		if (mut == IDCURSOR)
		{
			if (d.id[e] > d.idc)
				m |= 1 << e;
			continue;
		}
		int h = keyheld(s, d, e) ? 1 : topheld(s, d, e) ? 0 : -1;
		if (h >= 0)
		{
			int j = -1;
			for (int k = 0; k <= i; k++)
				if (s.r.b[k].join >> h & 1)
					j = k;
			if (j < 0)
				continue;
			if (j == i)
			{
				if (!cov(d.h[h], d, e) && (mut == NOSKIP || !(s.r.acked >> e & 1)))
					m |= 1 << e;
				continue;
			}
		}
		if (vis(b.lo, d.xid[e]))
			continue;
		if (i == 0 && d.hasOpen && d.open == b.hi && d.id[e] <= d.pos)
			continue;
		m |= 1 << e;
	}
	return m;
}

static void send(State &s, int e)
{
	const DB &d = CUR(s);
	Inst &q = s.r.in[0];
	if (evtx[e] != 255 && s.log[s.flush].tx[evtx[e]] != 3)
		V("G3 sent before durable", e);
	if (!committed(d, e))
		V("G2 sent though not committed", e);
	if (published(s, d, e))
		V("G5 sent though the cursor says published", e);
	if (s.r.acked >> e & 1)
		V("G5 sent though acknowledged in this incarnation", e);
	if (inInst(q, e))
		V("G5 sent while an earlier send is unreported", e);
	if (q.n == MQ)
	{
		pruned++;
		return;
	}
	q.ev[q.n] = e;
	q.st[q.n++] = 0;
}

static void rm(Inst &q, int k)
{
	for (int j = k; j + 1 < q.n; j++)
		q.ev[j] = q.ev[j + 1], q.st[j] = q.st[j + 1];
	q.n--;
	q.ev[q.n] = q.st[q.n] = 0;
}

static void deliver(State &s, int inst, int e)
{
	if (!(s.r.delivered >> e & 1))
	{
		for (int p = 0; p < sc.nE; p++)
		{
			if ((s.r.pred[e] >> p & 1) && committed(CUR(s), p) && !(s.r.delivered >> p & 1) &&
				!((CUR(s).disc >> p) & 1))
				V("G4/G7 delivered before its predecessor", e);
			if ((s.r.pred[p] >> e & 1) && (s.r.delivered >> p & 1) && committed(CUR(s), e) &&
				!(sc.bFail && !s.r.bFail && sc.discard))
				V("G4/G7 delivered after a successor", e);
		}
		s.r.delivered |= 1 << e;
	}
	if (inst == 1)
	{
		if (mut != ORPHANRACE2 && (s.r.lastByNew >> sc.key[e] & 1))
			V("LATE an old producer's record lies behind the new producer's", e);
	}
	else
		s.r.lastByNew |= 1 << sc.key[e];
}

static void inv(const State &s)
{ /* G1: whatever the cursor rows call published is in Kafka or a dead letter */
	const DB &d = CUR(s);
	for (int e = 0; e < sc.nE; e++)
		if (committed(d, e) && published(s, d, e) && !((s.r.delivered | d.dead | d.disc) >> e & 1))
			V("G1 lost: cursor has passed it", e);
}

static void pubdown(State &s)
{
	RT &r = s.r;
	r.up = 0;
	r.nb = 0;
	memset(r.b, 0, sizeof r.b);
	r.hbOn = 0;
	memset(&r.hb, 0, sizeof r.hb);
	r.acked = r.deadMem = 0;
	r.kact = 0;
	r.parkKnown = 0;
	r.rotOn = r.rotSnap = 0;
	r.memHold = 0;
	r.memHoldDone = 0;
	if (r.pubXid)
	{
		r.lc = max(r.lc, r.pubXid);
		r.pubXid = 0;
	}
}

static void killprod(State &s, bool orphan)
{
	if (orphan && s.r.in[0].n)
	{
		s.r.in[1] = s.r.in[0];
		for (int k = 0; k < s.r.in[1].n;)
			if (s.r.in[1].st[k])
				rm(s.r.in[1], k);
			else
				k++;
	}
	memset(&s.r.in[0], 0, sizeof(Inst));
	s.r.lastByNew = 0;
}

static void revert(State &s, int p)
{ /* the server comes up with the WAL prefix p */
	State o = s;
	memset(s.log, 0, sizeof s.log);
	s.log[0] = o.log[p];
	s.n = 1;
	s.flush = 0;
	DB &d = s.log[0];
	RT &r = s.r;
	for (int t = 0; t < sc.nT; t++)
	{
		if (d.tx[t] == 1)
			d.tx[t] = 4;
		if (d.tx[t] == 2)
			continue;
		if (r.pc[t] || r.xid[t])
		{
			r.pc[t] = 255;
			r.xid[t] = 0;
		}
	}
	if (mut != REUSEXID)
		r.nextXid = d.nextXid;
	else
		r.nextXid = max(2, d.nextXid - 2);
	r.lc = r.nextXid - 1;
	r.pubXid = 0;
	pubdown(s);
}

static string culprit;
static const State *from; /* from: set while the step is not a fault */

static void mono(const State &a, const State &b)
{
	for (int e = 0; e < sc.nE; e++)
		if (committed(CUR(a), e) && committed(CUR(b), e) && published(a, CUR(a), e) &&
			!published(b, CUR(b), e))
			V("G5 a cursor row went back without a crash", e);
}

#define ADD(w, a_, b_) \
	do \
	{ \
		if (s2.r.nextXid >= MXID) \
			pruned++; \
		else \
		{ \
			inv(s2); \
			if (from) \
				mono(*from, s2); \
			if (!s2.r.bSrv && !s2.r.bFail) \
				flushall(s2); \
			if (!viol.empty() && culprit.empty()) \
			{ \
				char bf[99]; \
				snprintf(bf, 99, "%s %d %d", w, (int)(a_), (int)(b_)); \
				culprit = bf; \
			} \
			out.push_back(Succ{s2, w, (int)(a_), (int)(b_)}); \
		} \
	} while (0)

static void expand(const State &s)
{
	out.clear();
	const DB &d = CUR(s);
	const RT &r = s.r;
	from = &s;
	/* ----- clients */
	for (int t = 0; t < sc.nT; t++)
	{
		if (r.pc[t] == 255)
		{
			if (d.tx[t] == 2)
			{
			}
			else
				continue;
		}
		int np = sc.script[t].size();
		if (d.tx[t] == 2)
		{ /* prepared: finish it */
			if (room(s))
				for (int c = 0; c < 2; c++)
				{
					State s2 = s;
					DB &x = app(s2);
					x.tx[t] = c ? 4 : 3;
					s2.r.lc = max(s2.r.lc, x.rows ? s.r.xid[t] : s.r.xid[t]);
					s2.r.pc[t] = 255;
					flushall(s2);
					ADD(c ? "rollback prepared T" : "commit prepared T", t, 0);
				}
			continue;
		}
		if (d.tx[t] >= 3 || r.pc[t] == 255)
			continue;
		if (r.pc[t] < np)
		{
			int op = sc.script[t][r.pc[t]];
			if (op != 100 && !room(s))
				continue;
			State s2 = s;
			if (!s2.r.xid[t])
				s2.r.xid[t] = s2.r.nextXid++;
			s2.r.pc[t]++;
			if (op != 100)
			{
				DB &x = app(s2);
				int e = op;
				x.rows |= 1 << e;
				x.id[e] = x.nextId++;
				x.xid[e] = s2.r.xid[t];
				x.tx[t] = 1;
				x.nextXid = max(x.nextXid, (u8)(s2.r.xid[t] + 1));
				u8 p = 0;
				for (int q = 0; q < sc.nE; q++)
					if (q != e && sc.key[q] == sc.key[e] && (x.rows >> q & 1) &&
						(evtx[q] == t || committed(x, q)))
						p |= 1 << q;
				s2.r.pred[e] = p;
				if (sc.rot)
				{
					State s3 = s2;
					CUR(s3).seg |= 1 << e;
					{
						State s2 = s3;
						ADD("emit into segment 1 e", e, t);
					}
				}
			}
			ADD(op == 100 ? "assign xid T" : "emit e", op == 100 ? t : op, t);
		}
		else if (room(s))
		{
			for (int k = 0; k < 4; k++)
				if (sc.ends[t] >> k & 1)
				{
					State s2 = s;
					DB &x = app(s2);
					x.tx[t] = k < 2 ? 3 : k == 2 ? 4 : 2;
					if (k < 3)
					{
						s2.r.lc = max(s2.r.lc, s2.r.xid[t]);
						s2.r.pc[t] = 255;
					}
					if (k == 0 || k == 3)
						flushall(s2);
					ADD(k == 0	 ? "commit T"
						: k == 1 ? "async commit T"
						: k == 2 ? "abort T"
								 : "prepare T",
						t, 0);
				}
		}
	}
	/* ----- WAL writer */
	if (s.flush < s.n - 1)
	{
		State s2 = s;
		flushall(s2);
		ADD("wal flush", 0, 0);
	}
	if (r.bFail && s.flush > 0)
	{
		State s2 = s;
		compress(s2, true);
		ADD("standby catches up", 0, 0);
	}
	/* ----- publisher */
	bool oldgone = r.in[1].n == 0 || mut == ORPHANRACE || mut == ORPHANRACE2;
	if (!r.up && oldgone && room(s))
	{
		State s2 = s;
		s2.r.up = 1;
		if (mut != NOGEN && !lazy)
		{
			app(s2);
			pubtx(s2);
			flushall(s2);
		}
		const DB &x = CUR(s2);
		if (x.hasOpen)
		{
			s2.r.nb = 1;
			s2.r.b[0].lo = x.done;
			s2.r.b[0].hi = x.open;
			s2.r.b[0].barrier = 1;
			s2.r.b[0].mem = members(s2, 0);
		}
		ADD("publisher starts", 0, 0);
	}
	if (r.up && !r.pubXid)
	{
		/* mark: snapshot without xid */
		if (r.nb < sc.maxB)
		{
			u32 lo = r.nb ? r.b[r.nb - 1].hi : d.done;
			vector<u32> his;
			u32 S = snapshot(s);
			his.push_back(S);
			if (mut == XIDCUT)
				for (int c = 2; c <= r.lc; c++)
					his.push_back(S & ((1u << c) - 1));
			bool jp[2] = {false, false};
			for (int i = 0; i < r.nb; i++)
				for (int h = 0; h < 2; h++)
					jp[h] |= r.b[i].join >> h & 1;
			for (u32 hi : his)
				for (int j = 0; j < 4; j++)
				{
					bool ok = true;
					for (int h = 0; h < 2; h++)
						if (j >> h & 1)
							ok &= d.h[h].on && !jp[h];
					if ((j & 1) && r.hbOn)
						ok = false;
					if ((j & 1) && mut != HELDRESEND)
						for (int k = 0; k < r.in[0].n; k++)
							if (sc.topic[r.in[0].ev[k]] == 0)
								ok = false;
					if ((j & 2) && (d.dead || r.kact))
						ok = false; /* undecided */
					if (j & 2)
						for (int e = 0; e < sc.nE; e++)
							if (sc.key[e] == pkey)
							{
								if ((d.disc >> e & 1) && d.h[1].hasOpen && d.h[1].pos < d.id[e])
									ok = false; /* decided, not yet applied */
								if (mut != KEYFIRST && sc.topic[e] == 0 && d.h[0].on &&
									!((j | (jp[0] ? 1 : 0)) & 1))
									ok = false;
							} /* its topic must rejoin first or with it */
					bool any = j != 0;
					for (int e = 0; e < sc.nE; e++)
						if (committed(d, e) && vis(hi, d.xid[e]) &&
							(mut == IDCURSOR ? d.id[e] > d.idc && !r.nb : !vis(lo, d.xid[e])))
							any = true;
					if (!ok || !any || (mut == IDCURSOR && r.nb))
						continue;
					State s2 = s;
					Batch &b = s2.r.b[s2.r.nb++];
					b.lo = lo;
					b.hi = hi;
					b.join = j;
					b.barrier = 0;
					b.mem = 0;
					ADD(j ? "mark+join" : "mark", hi, j);
				}
		}
		/* barrier, in two steps (the publisher may die between them): commit record written and
		 * visible; then flushed (and acknowledged by standbys). */
		/* One commit serves all marks taken before it; `open` = end of the first batch only. */
		bool nbar = false, wait = false;
		for (int i = 0; i < r.nb; i++)
			nbar |= r.b[i].barrier == 0, wait |= r.b[i].barrier == 2;
		if (nbar && !wait && room(s))
		{
			State s2 = s;
			DB &y = app(s2);
			pubtx(s2);
			if (!y.hasOpen && !lazy)
			{
				y.hasOpen = 1;
				y.open = s2.r.b[0].hi;
				y.pos = 0;
			}
			if (mut == POSUNION)
				y.open = s2.r.b[s2.r.nb - 1].hi;
			for (int i = 0; i < s2.r.nb; i++)
				if (!s2.r.b[i].barrier)
					s2.r.b[i].barrier = 2;
			if (mut == DELATOPEN)
				for (int i = 0; i < s2.r.nb; i++)
					for (int h = 0; h < 2; h++)
						if (s2.r.b[i].join >> h & 1)
							memset(&y.h[h], 0, sizeof(Hold));
			ADD("open: commit written", 0, 0);
		}
		if (wait)
		{
			State s2 = s;
			bool jk = false;
			for (int i = 0; i < r.nb; i++)
				jk |= r.b[i].barrier == 2 && r.b[i].join;
			if (mut != NOBARRIER && !(mut == NOJOINBAR && jk))
				flushall(s2);
			for (int i = 0; i < s2.r.nb; i++)
				if (s2.r.b[i].barrier == 2)
				{
					s2.r.b[i].barrier = 1;
					s2.r.b[i].mem = members(s2, i);
				}
			ADD("barrier passed, batches read", 0, 0);
		}
		/* feed the first batch that has something unsent */
		for (int i = 0; i < r.nb && r.b[i].barrier == 1; i++)
		{
			u8 want = 0;
			for (int e = 0; e < sc.nE; e++)
				if ((r.b[i].mem >> e & 1) && (mut == NOSKIP || !(r.acked >> e & 1)) &&
					!(r.deadMem >> e & 1) && !inInst(r.in[0], e))
					want |= 1 << e;
			if (!want)
				continue;
			State s2 = s;
			for (int e : order(d, want))
				send(s2, e);
			ADD("feed batch", i, want);
			break;
		}
		/* close in order */
		for (int i = 0; i < r.nb; i++)
		{
			if (i && mut != OUTOFORDER)
				break;
			if (r.b[i].barrier != 1 || !room(s))
				continue;
			bool all = true;
			for (int e = 0; e < sc.nE; e++)
				if ((r.b[i].mem >> e & 1) && !((r.acked | r.deadMem) >> e & 1))
					all = false;
			if (!all)
				continue;
			State s2 = s;
			DB &x = app(s2);
			pubtx(s2);
			const Batch b = r.b[i];
			if (mut == IDCURSOR)
			{
				for (int e = 0; e < sc.nE; e++)
					if (b.mem >> e & 1)
						x.idc = max(x.idc, x.id[e]);
			}
			x.done = b.hi;
			for (int h = 0; h < 2; h++)
				if (b.join >> h & 1)
					memset(&x.h[h], 0, sizeof(Hold));
			for (int k = i; k + 1 < s2.r.nb; k++)
				s2.r.b[k] = s2.r.b[k + 1];
			s2.r.nb--;
			memset(&s2.r.b[s2.r.nb], 0, sizeof(Batch));
			x.pos = 0;
			if (!lazy && s2.r.nb && s2.r.b[0].barrier && i == 0)
			{
				x.hasOpen = 1;
				x.open = s2.r.b[0].hi;
			}
			else
			{
				x.hasOpen = 0;
				x.open = 0;
			}
			ADD("close batch (async)", i, 0);
		}
		/* position inside the first batch */
		if (sc.pos && r.nb && r.b[0].barrier == 1 && (d.hasOpen || lazy) && room(s) &&
			mut != IDCURSOR)
		{
			u8 L = d.pos;
			bool gap = false;
			for (int e : order(d, r.b[0].mem))
			{
				bool a = (r.acked | r.deadMem) >> e & 1;
				if (a && (!gap || mut == POSMAX))
					L = max(L, d.id[e]);
				if (!a)
					gap = true;
			}
			if (gap && L > d.pos)
			{
				State s2 = s;
				DB &x = app(s2);
				pubtx(s2);
				x.pos = L;
				if (lazy)
				{
					x.hasOpen = 1;
					x.open = r.b[0].hi;
				}
				/* the rows of the scopes that join in this batch get it too */
				for (int h = 0; h < 2; h++)
				{
					if (!x.h[h].on || (!(r.b[0].join >> h & 1) && mut != ROWPOS) ||
						(x.h[h].hasOpen && x.h[h].pos >= L))
						continue;
					x.h[h].hasOpen = 1;
					x.h[h].open = r.b[0].hi;
					x.h[h].pos = L;
				}
				ADD("store position (async)", L, 0);
			}
		}
		/* hold topic 0 */
		if (r.bHold && room(s))
		{
			u8 A = 0;
			for (int e = 0; e < sc.nE; e++)
				if (sc.topic[e] == 0)
					A |= 1 << e;
			bool un = false;
			for (int i = 0; i < r.nb; i++)
				if (r.b[i].barrier && (r.b[i].mem & A & ~r.acked & ~r.deadMem))
					un = true;
			bool joining = false;
			for (int i = 0; i < r.nb; i++)
				joining |= r.b[i].join & 1;
			if (un && (!topheld(s, d, 0) || joining))
			{
				State s2 = s;
				s2.r.bHold--;
				if (mut == HOLDMEM)
				{
					s2.r.memHold = 1;
					s2.r.memHoldDone = d.done;
				}
				else
				{
					DB &x = app(s2);
					pubtx(s2);
					if (!x.h[0].on)
					{
						x.h[0].on = 1;
						x.h[0].done = mut == HOLDOPEN ? s2.r.b[0].hi : x.done;
						if (mut != HOLDOPEN)
						{
							x.h[0].hasOpen = x.hasOpen;
							x.h[0].open = x.open;
							x.h[0].pos = x.pos;
						}
					}
				}
				for (int i = 0; i < s2.r.nb; i++)
				{
					s2.r.b[i].mem &= ~A;
					s2.r.b[i].join &= ~1;
					if (mut != HOLDKEYJOIN)
						for (int e = 0; e < sc.nE; e++)
							if (sc.key[e] == pkey && sc.topic[e] == 0)
								s2.r.b[i].join &= ~2;
				}
				ADD("hold topic (async)", 0, 0);
			}
		}
		/* held topic: batches of its own */
		bool joining = false;
		for (int i = 0; i < r.nb; i++)
			joining |= r.b[i].join & 1;
		if (d.h[0].on && !r.hbOn && !joining && room(s))
		{
			bool busy = false;
			if (mut != HELDRESEND)
				for (int k = 0; k < r.in[0].n; k++)
					if (sc.topic[r.in[0].ev[k]] == 0)
						busy = true;
			if (!busy)
			{
				u32 S = snapshot(s);
				u8 m = 0;
				bool any = false;
				for (int e = 0; e < sc.nE; e++)
					if (sc.topic[e] == 0 && committed(d, e) && vis(S, d.xid[e]) &&
						!cov(d.h[0], d, e) && !keyheld(s, d, e))
					{
						any = true;
						if (mut == NOSKIP || !(r.acked >> e & 1))
							m |= 1 << e;
					}
				if (any)
				{
					State s2 = s;
					app(s2);
					pubtx(s2);
					flushall(s2);
					s2.r.hbOn = 1;
					s2.r.hb.lo = d.h[0].done;
					s2.r.hb.hi = S;
					s2.r.hb.barrier = 1;
					s2.r.hb.mem = m;
					ADD("held: open batch", 0, m);
				}
			}
		}
		if (r.hbOn)
		{
			u8 want = 0;
			for (int e = 0; e < sc.nE; e++)
				if ((r.hb.mem >> e & 1) && (mut == NOSKIP || !(r.acked >> e & 1)) &&
					!(r.deadMem >> e & 1) && (mut == HELDRESEND || !inInst(r.in[0], e)))
					want |= 1 << e;
			bool sent = true;
			for (int e = 0; e < sc.nE; e++)
				if (want >> e & 1 && !inInst(r.in[0], e))
					sent = false;
			if (want && (!sent || mut == HELDRESEND))
			{
				State s2 = s;
				for (int e : order(d, want))
					send(s2, e);
				ADD("held: feed", want, 0);
			}
			bool all = !(r.hb.mem & ~(r.acked | r.deadMem));
			if (all && room(s))
			{
				State s2 = s;
				DB &x = app(s2);
				pubtx(s2);
				x.h[0].done = r.hb.hi;
				x.h[0].hasOpen = x.h[0].pos = 0;
				x.h[0].open = 0;
				s2.r.hbOn = 0;
				memset(&s2.r.hb, 0, sizeof(Batch));
				if (mut == EARLYDEL)
					memset(&x.h[0], 0, sizeof(Hold));
				ADD("held: close batch", 0, 0);
			}
		}
		/* dead letters: act on the operator's decision (no barrier of its own: the join batch has
		 * one) */
		if (d.h[1].on && d.dead && !r.kact && room(s))
		{
			int e = __builtin_ctz(d.dead);
			if (d.retry >> e & 1)
			{
				State s2 = s;
				s2.r.kact = 1;
				s2.r.deadMem &= ~(1 << e);
				Inst &q = s2.r.in[0];
				if (!inInst(q, e) && q.n < MQ)
				{
					q.ev[q.n] = e;
					q.st[q.n++] = 0;
				}
				ADD("retry: send dead letter", e, 0);
			}
		}
		if (r.kact && d.dead && room(s))
		{
			int e = __builtin_ctz(d.dead);
			if (r.acked >> e & 1)
			{
				State s2 = s;
				DB &x = app(s2);
				pubtx(s2);
				x.dead &= ~(1 << e);
				x.retry &= ~(1 << e);
				if (x.h[1].on)
					x.h[1].pos = x.id[e];
				s2.r.kact = 0;
				ADD("retry: done", e, 0);
			}
			else if (!inInst(r.in[0], e))
			{
				State s2 = s;
				s2.r.kact = 0;
				ADD("retry: producer lost it", e, 0);
			}
		}
		if (d.h[1].on && (d.disc >> 0) && d.h[1].hasOpen && room(s))
		{
			int e = __builtin_ctz(d.disc);
			if (sc.key[e] == pkey && d.h[1].pos < d.id[e])
			{
				State s2 = s;
				DB &x = app(s2);
				pubtx(s2);
				x.h[1].pos = x.id[e];
				ADD("discard: position behind it", e, 0);
			}
		}
		/* rotation */
		if (sc.rot && room(s))
			for (int g = 0; g < 2; g++)
			{
				u8 seg = g ? d.seg & d.rows : ~d.seg & d.rows;
				bool lock = true, proof = true, old = false;
				for (int e = 0; e < sc.nE; e++)
					if (seg >> e & 1)
					{
						u8 st = evtx[e] == 255 ? 3 : d.tx[evtx[e]];
						if (st == 1 || st == 2)
							lock = false;
						if (st == 3)
						{
							old = true;
							bool seen = mut != ROTSTALE || (r.rotSnap >> e & 1);
							if (seen && !(mut == ROTHELD ? covmain(d, e) : published(s, d, e)))
								proof = false;
						}
					}
				if (mut == ROTSTALE && !r.rotOn)
				{
					State s2 = s;
					s2.r.rotOn = 1;
					for (int e = 0; e < sc.nE; e++)
						if (committed(d, e))
							s2.r.rotSnap |= 1 << e;
					ADD("rotation: old snapshot", g, 0);
					continue;
				}
				if (!seg || !lock || !proof || !old)
					continue;
				State s2 = s;
				DB &x = app(s2);
				pubtx(s2);
				for (int e = 0; e < sc.nE; e++)
					if ((seg >> e & 1) && committed(x, e) &&
						!((s.r.delivered | x.dead | x.disc) >> e & 1))
						V("G1 rotation removed an unpublished event", e);
				x.rows &= ~seg;
				for (int e = 0; e < sc.nE; e++)
					if (seg >> e & 1)
						x.gone |= 1 << e;
				s2.r.rotOn = s2.r.rotSnap = 0;
				flushall(s2);
				ADD("rotate segment", g, seg);
			}
		/* a publisher transaction that writes an event of its own (adoption) */
		if (sc.adopt && !(d.rows >> (sc.nE - 1) & 1) && !(d.gone >> (sc.nE - 1) & 1))
		{
			State s2 = s;
			s2.r.pubXid = s2.r.nextXid++;
			ADD("adopt: begin, xid", s2.r.pubXid, 0);
		}
	}
	if (r.up && r.pubXid && room(s))
	{
		int e = sc.nE - 1;
		State s2 = s;
		DB &x = app(s2);
		u8 X = r.pubXid;
		u32 S = snapshot(s); /* own xid is not in xip, exactly as in PostgreSQL */
		x.rows |= 1 << e;
		x.id[e] = x.nextId++;
		x.xid[e] = X;
		x.nextXid = max(x.nextXid, (u8)(X + 1));
		s2.r.lc = max(s2.r.lc, X);
		s2.r.pubXid = 0;
		flushall(s2);
		u8 p = 0;
		for (int q = 0; q < sc.nE; q++)
			if (q != e && sc.key[q] == sc.key[e] && committed(CUR(s2), q))
				p |= 1 << q;
		s2.r.pred[e] = p;
		if (mut == SNAPINXID && !s2.r.nb)
		{ /* idle turn: the probe with S finds nothing (the row is not inserted yet), `done` := S in
			 the same transaction */
			bool any = false;
			for (int q = 0; q < sc.nE; q++)
				if (committed(d, q) && vis(S, d.xid[q]) && !vis(d.done, d.xid[q]))
					any = true;
			if (!any)
				CUR(s2).done = S;
		}
		ADD("adopt: insert, commit", e, 0);
	}
	/* operator */
	if (d.dead && d.h[1].on && room(s))
	{
		int e = __builtin_ctz(d.dead);
		if (!(d.retry >> e & 1))
		{
			State s2 = s;
			DB &x = app(s2);
			x.retry |= 1 << e;
			s2.r.fixed |= 1 << e;
			ADD("operator: retry (async commit)", e, 0);
		}
		if (sc.discard && !(d.retry >> e & 1))
		{
			State s2 = s;
			DB &x = app(s2);
			x.dead &= ~(1 << e);
			x.disc |= 1 << e;
			ADD("operator: discard (async commit)", e, 0);
		}
	}
	/* ----- producers and broker */
	for (int i = 0; i < 2; i++)
	{
		u8 seen = 0;
		for (int k = 0; k < r.in[i].n; k++)
			if (!r.in[i].st[k])
			{
				int e = r.in[i].ev[k];
				if (seen >> sc.key[e] & 1)
					continue;
				seen |= 1 << sc.key[e];
				State s2 = s;
				Inst &q = s2.r.in[i];
				if ((sc.poison >> e & 1) && !(r.fixed >> e & 1))
				{
					rm(q, k);
					if (mut != NONGAPLESS)
					{
						for (int j = 0; j < q.n;)
						{
							if (!q.st[j])
								rm(q, j);
							else
								j++;
						}
					}
					if (i == 0 && r.up)
					{ /* refused alone: dead letter and the key's own cursor row, in one transaction
					   */
						bool found = r.hbOn && (r.hb.mem >> e & 1);
						for (int b = 0; b < r.nb; b++)
							if (r.b[b].mem >> e & 1)
								found = true;
						if (!found && mut != LATEREFUSE)
						{
							ADD("broker refuses, ignored: no open batch owns it", e, i);
							continue;
						}
						if (!room(s))
							continue;
						DB &x = app(s2);
						pubtx(s2);
						s2.r.deadMem |= 1 << e;
						if (mut == DEADLATE)
						{
							for (int b = 0; b < s2.r.nb; b++)
							{
							}
							ADD("broker refuses, kept in memory only", e, i);
							continue;
						}
						x.dead |= 1 << e;
						u32 lo = x.done, hi = x.open;
						found = false;
						for (int b = 0; b < s2.r.nb; b++)
							if (s2.r.b[b].mem >> e & 1)
							{
								lo = s2.r.b[b].lo;
								hi = s2.r.b[b].hi;
								found = true;
								if (s2.r.b[b].join)
								{
									for (int h = 0; h < 2; h++)
										if (s2.r.b[b].join >> h & 1)
											if (h == 1 || sc.topic[e] == 0)
												if (x.h[h].on)
													lo = x.h[h].done;
								}
							}
						if (s2.r.hbOn && (s2.r.hb.mem >> e & 1))
						{
							lo = s2.r.hb.lo;
							hi = s2.r.hb.hi;
							found = true;
						}
						if (mut == KEYDONE)
							lo = hi;
						if (!found)
						{
							lo = x.h[0].done;
							hi = snapshot(s);
						}
						x.h[1].on = 1;
						x.h[1].done = lo;
						x.h[1].hasOpen = 1;
						x.h[1].open = hi;
						x.h[1].pos = x.id[e] - 1;
						s2.r.parkKnown = 1;
						u8 K = 0;
						for (int f = 0; f < sc.nE; f++)
							if (sc.key[f] == sc.key[e])
								K |= 1 << f;
						for (int b = 0; b < s2.r.nb; b++)
						{
							s2.r.b[b].mem &= ~(K & ~s2.r.acked);
							s2.r.b[b].join &= ~2;
						}
						if (s2.r.hbOn)
							s2.r.hb.mem &= ~(K & ~s2.r.acked);
					}
					ADD("broker refuses", e, i);
					continue;
				}
				q.st[k] = 1;
				deliver(s2, i, e);
				if (i == 1)
				{
					for (int j = 0; j < q.n; j++)
						if (q.ev[j] == e && q.st[j])
						{
							rm(q, j);
							break;
						}
				}
				ADD(i ? "OLD producer delivers" : "broker takes", e, i);
			}
	}
	{
		u8 seen = 0;
		for (int k = 0; k < r.in[0].n; k++)
			if (r.in[0].st[k])
			{
				int e = r.in[0].ev[k];
				if (seen >> sc.key[e] & 1)
					continue;
				seen |= 1 << sc.key[e];
				if (!r.up)
					continue;
				State s2 = s;
				rm(s2.r.in[0], k);
				s2.r.acked |= 1 << e;
				ADD("acknowledged", e, 0);
			}
	}
	size_t nf = out.size();
	from = nullptr;
	/* ----- faults */
	if (r.bProd && r.in[0].n)
	{
		State s2 = s;
		s2.r.bProd--;
		u8 lb = s2.r.lastByNew;
		killprod(s2, false);
		s2.r.lastByNew = lb;
		ADD("producer dies", 0, 0);
	}
	if (r.bPub && r.up)
	{
		for (int o = 0; o < 1 + (sc.orphan && !r.in[1].n); o++)
		{
			State s2 = s;
			s2.r.bPub--;
			pubdown(s2);
			killprod(s2, o);
			ADD(o ? "publisher dies, producer lives on" : "publisher dies", 0, 0);
		}
	}
	if (r.in[1].n)
	{
		State s2 = s;
		memset(&s2.r.in[1], 0, sizeof(Inst));
		ADD("old producer dies", 0, 0);
	}
	if (r.bSrv)
		for (int p = s.flush; p < s.n; p++)
			for (int o = 0; o < 1 + (sc.orphan && !r.in[1].n); o++)
			{
				State s2 = s;
				s2.r.bSrv--;
				killprod(s2, o);
				revert(s2, p);
				for (int e = 0; e < sc.nE; e++)
					if ((s2.r.delivered >> e & 1) && !(s2.r.phantom >> e & 1) &&
						!committed(CUR(s2), e) && !(CUR(s2).gone >> e & 1))
						V("G3 published and then undone by a crash", e);
				ADD("server crashes, WAL prefix", p, o);
			}
	if (r.bFail)
		for (int p = 0; p < s.n; p++)
		{
			State s2 = s;
			s2.r.bFail--;
			killprod(s2, false);
			revert(s2, p);
			for (int e = 0; e < sc.nE; e++)
				if (!committed(CUR(s2), e) && !(CUR(s2).gone >> e & 1))
					s2.r.phantom |= 1 << e;
			ADD("failover to lagging standby, WAL prefix", p, 0);
		}
	(void)nf;
	if (nf == 0 && viol.empty())
	{ /* nothing but faults can happen: everything must be settled */
		for (int e = 0; e < sc.nE; e++)
			if (committed(d, e) && !published(s, d, e))
				V("STUCK committed event never published", e);
		for (int h = 0; h < 2; h++)
			if (d.h[h].on)
				V("STUCK hold row never deleted", h);
	}
}

/* ---------- search ---------- */
static u64 mix(u64 h, u64 x)
{
	h ^= x;
	h *= 0x9E3779B97F4A7C15ull;
	h ^= h >> 29;
	return h;
}

struct K2
{
	u64 a, b;

	bool operator==(const K2 &o) const
	{
		return a == o.a && b == o.b;
	}
};

static K2 hashs(const State &s)
{
	const u8 *p = (const u8 *)&s;
	size_t n = ssize(s);
	u64 a = 1, b = 0x1234567;
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
	{
		u64 x;
		memcpy(&x, p + i, 8);
		a = mix(a, x);
		b = mix(b + 0x51ull, x * 0xC2B2AE3D27D4EB4Full);
	}
	u64 t = 0;
	memcpy(&t, p + i, n - i);
	a = mix(a, t);
	b = mix(b, t + n);
	return K2{a, b};
}

struct Set
{
	vector<K2> t;
	size_t n = 0, m;

	Set()
	{
		t.assign(1 << 20, K2{0, 0});
		m = t.size() - 1;
	}

	bool add(K2 k)
	{
		if (!k.a && !k.b)
			k.a = 1;
		if (n * 10 > t.size() * 7)
		{
			vector<K2> o;
			o.swap(t);
			t.assign(o.size() * 2, K2{0, 0});
			m = t.size() - 1;
			for (auto &x : o)
				if (x.a || x.b)
				{
					size_t i = x.a & m;
					while (t[i].a || t[i].b)
						i = (i + 1) & m;
					t[i] = x;
				}
		}
		size_t i = k.a & m;
		while (t[i].a || t[i].b)
		{
			if (t[i] == k)
				return false;
			i = (i + 1) & m;
		}
		t[i] = k;
		n++;
		return true;
	}
};

struct Par
{
	u32 p;
	const char *w;
	int a, b;
};

#include "scenarios.h"

static int usage()
{
	fprintf(stderr, "usage: model [--stored-open] SCENARIO RULE [LIMIT]\n");
	return 2;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--stored-open"))
	{
		lazy = false;
		argv++, argc--;
	}
	if (argc < 3 || argc > 4)
		return usage();
	string mn = argv[2];
	u64 limit = argc > 3 ? strtoull(argv[3], 0, 10) : 90000000ull;
	int known = 0;
	for (int i = 0; i < NMUT; i++)
		if (mn == mutname[i])
			mut = (Mut)i, known = 1;
	if (!known || !scenario(argv[1]))
	{
		fprintf(stderr, "model: there is no %s \"%s\"\n", known ? "scenario" : "rule",
				argv[known ? 1 : 2]);
		return usage();
	}
	memset(evtx, 254, sizeof evtx);
	for (int t = 0; t < sc.nT; t++)
		for (int o : sc.script[t])
			if (o != 100)
				evtx[o] = t;
	if (sc.adopt)
		evtx[sc.nE - 1] = 255;
	pkey = 200;
	for (int e = 0; e < sc.nE; e++)
		if (sc.poison >> e & 1)
			pkey = sc.key[e];
	State s0;
	memset(&s0, 0, sizeof s0);
	s0.n = 1;
	DB &d = s0.log[0];
	d.nextXid = 2;
	d.nextId = 1;
	d.done = 3;
	s0.r.nextXid = 2;
	s0.r.lc = 1;
	s0.r.bSrv = sc.bSrv;
	s0.r.bPub = sc.bPub;
	s0.r.bProd = sc.bProd;
	s0.r.bFail = sc.bFail;
	s0.r.bHold = sc.bHold;
	d.idc = 0;
	Set seen;
	vector<Par> par;
	deque<string> q;
	u64 done = 0, trans = 0;
	auto push = [&](const State &s) { q.emplace_back((const char *)&s, ssize(s)); };
	seen.add(hashs(s0));
	par.push_back(Par{0, "init", 0, 0});
	push(s0);
	auto trace = [&](u32 i, vector<string> tail)
	{
		vector<string> v;
		while (i)
		{
			char buf[200];
			snprintf(buf, sizeof buf, "%s %d %d", par[i].w, par[i].a, par[i].b);
			v.push_back(buf);
			i = par[i].p;
		}
		reverse(v.begin(), v.end());
		for (auto &x : tail)
			v.push_back(x);
		int k = 0;
		for (auto &x : v)
			printf("   %2d %s\n", ++k, x.c_str());
	};
	State s;
	while (!q.empty())
	{
		memset(&s, 0, sizeof s);
		memcpy((void *)&s, q.front().data(), q.front().size());
		q.pop_front();
		u32 me = done++;
		viol.clear();
		culprit.clear();
		expand(s);
		if (!viol.empty())
		{
			string v0 = viol;
			printf("%-10s %-11s VIOLATION %s  (states %llu)\n", sc.name, mutname[mut], v0.c_str(),
				   (unsigned long long)seen.n);
			trace(me, {culprit + "   <== " + v0});
			return 1;
		}
		for (auto &x : out)
		{
			trans++;
			if (seen.add(hashs(x.s)))
			{
				par.push_back(Par{me, x.what, x.a, x.b});
				push(x.s);
			}
		}
		if (seen.n > limit)
		{
			printf("%-10s %-11s no violation, STOPPED at limit: states %llu transitions %llu\n",
				   sc.name, mutname[mut], (unsigned long long)seen.n, (unsigned long long)trans);
			return 3;
		}
	}
	printf("%-10s %-11s %s, states %llu transitions %llu pruned %llu\n", sc.name, mutname[mut],
		   pruned ? "no violation, but states were PRUNED" : "ok: complete",
		   (unsigned long long)seen.n, (unsigned long long)trans, (unsigned long long)pruned);
	return pruned ? 3 : 0;
}
