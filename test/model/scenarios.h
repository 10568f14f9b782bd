/*-------------------------------------------------------------------------
 *
 * scenarios.h
 *	  The bounded worlds of the model.
 *
 * set() takes: name; key of each event; topic of each event (0 is the one that
 * can be held); the script of each transaction (100: take an xid early, else the
 * number of the event to emit); its possible ends (sum of 1 commit, 2 commit with
 * synchronous_commit off, 4 abort, 8 prepare).  The budgets b... say how often a
 * fault may happen; poison has a bit for each event that the broker refuses.
 *
 * IDENTIFICATION
 *	  test/model/scenarios.h
 *
 *-------------------------------------------------------------------------
 */
static bool scenario(const string &n)
{
	sc = Scenario();
	sc.maxB = 2;
	auto set = [&](const char *nm, vector<int> key, vector<int> top, vector<vector<int>> scr, vector<int> ends)
	{
		sc.name = strdup(nm);
		sc.nE = key.size();
		sc.nT = scr.size();
		for (int i = 0; i < sc.nE; i++)
			sc.key[i] = key[i], sc.topic[i] = top[i];
		sc.script = scr;
		for (int i = 0; i < sc.nT; i++)
			sc.ends[i] = ends[i];
	};
	/* T0: e0 (key 0); T1: xid early, then e1 (key 0), e2 (key 1); T2: e3 (key 1) */
	if (n == "core")
	{
		set("core", {0, 0, 1, 1}, {1, 1, 1, 1}, {{0}, {100, 1, 2}, {3}}, {1, 1 | 4, 1});
		return true;
	}
	if (n == "core3")
	{
		set("core3", {0, 0, 1}, {1, 1, 1}, {{0}, {100, 1}, {2}}, {1, 1, 1});
		sc.maxB = 3;
		sc.bPub = 1;
		sc.bProd = 1;
		return true;
	}
	if (n == "crash")
	{
		set("crash", {0, 0, 1}, {1, 1, 1}, {{0}, {100, 1}, {2}}, {1 | 2, 2, 1});
		sc.bSrv = 1;
		sc.bPub = 1;
		return true;
	}
	if (n == "crash2")
	{
		set("crash2", {0, 0}, {1, 1}, {{0}, {100, 1}}, {1 | 2, 2});
		sc.bSrv = 2;
		sc.bPub = 1;
		sc.bProd = 1;
		return true;
	}
	if (n == "twophase")
	{
		set("twophase", {0, 0, 1}, {1, 1, 1}, {{0}, {100, 1}, {2}}, {1, 8, 1});
		sc.bSrv = 1;
		return true;
	}
	if (n == "failover")
	{
		set("failover", {0, 0, 1}, {1, 1, 1}, {{0}, {100, 1}, {2}}, {1, 1, 1});
		sc.bFail = 1;
		return true;
	}
	if (n == "hold")
	{
		set("hold", {0, 1, 0}, {0, 1, 0}, {{0, 1}, {100, 2}}, {1, 1});
		sc.bHold = 1;
		return true;
	}
	if (n == "hold2")
	{
		set("hold2", {0, 2, 0, 1}, {0, 0, 0, 1}, {{0, 1}, {2, 3}}, {1, 1});
		sc.bHold = 2;
		return true;
	}
	if (n == "holdcrash")
	{
		set("holdcrash", {0, 1, 0}, {0, 1, 0}, {{0, 1}, {2}}, {1, 1});
		sc.bHold = 1;
		sc.bSrv = 1;
		return true;
	}
	if (n == "holdpub")
	{
		set("holdpub", {0, 2, 0}, {0, 0, 0}, {{0, 1}, {2}}, {1, 1});
		sc.bHold = 2;
		sc.bPub = 1;
		sc.bProd = 1;
		return true;
	}
	if (n == "pos")
	{
		set("pos", {0, 1, 0}, {1, 1, 1}, {{0, 1}, {100, 2}}, {1, 1});
		sc.pos = true;
		sc.bPub = 1;
		sc.bSrv = 1;
		return true;
	}
	if (n == "pos2")
	{
		set("pos2", {0, 1, 2}, {1, 1, 1}, {{0}, {1}, {2}}, {1, 1, 1});
		sc.pos = true;
		sc.bPub = 1;
		return true;
	}
	if (n == "poshold")
	{
		set("poshold", {0, 1, 2}, {0, 1, 0}, {{0, 1}, {2}}, {1, 1});
		sc.pos = true;
		sc.bPub = 1;
		sc.bHold = 1;
		return true;
	}
	if (n == "posjoin")
	{
		set("posjoin", {0, 1, 2}, {0, 1, 1}, {{0, 1, 2}}, {1});
		sc.pos = true;
		sc.bPub = 1;
		sc.bHold = 1;
		return true;
	}
	if (n == "posjoin2")
	{
		set("posjoin2", {0, 2, 1}, {0, 0, 1}, {{0, 1}, {2}}, {1, 1});
		sc.pos = true;
		sc.bPub = 1;
		sc.bHold = 1;
		return true;
	}
	if (n == "park")
	{
		set("park", {0, 0, 0, 1}, {1, 1, 1, 1}, {{0, 1, 3}, {2}}, {1, 1});
		sc.poison = 2;
		sc.discard = true;
		sc.bPub = 1;
		return true;
	}
	if (n == "parkcrash")
	{
		set("parkcrash", {0, 0, 0}, {1, 1, 1}, {{0, 1}, {2}}, {1, 1});
		sc.poison = 1;
		sc.discard = true;
		sc.bSrv = 1;
		sc.bProd = 1;
		return true;
	}
	if (n == "parkhold")
	{
		set("parkhold", {0, 0, 1}, {0, 0, 0}, {{0, 2}, {1}}, {1, 1});
		sc.poison = 1;
		sc.discard = true;
		sc.bHold = 1;
		sc.bPub = 1;
		return true;
	}
	if (n == "rot")
	{
		set("rot", {0, 1, 1}, {1, 0, 0}, {{0, 1}, {2}}, {1, 1});
		sc.rot = true;
		sc.bHold = 1;
		return true;
	}
	if (n == "rotcrash")
	{
		set("rotcrash", {0, 1}, {0, 1}, {{0}, {1}}, {1 | 2, 1 | 8});
		sc.rot = true;
		sc.bSrv = 1;
		sc.bHold = 1;
		return true;
	}
	if (n == "rotpark")
	{
		set("rotpark", {0, 0, 1}, {1, 1, 1}, {{0}, {1}, {2}}, {1, 1, 1});
		sc.rot = true;
		sc.poison = 1;
		sc.discard = true;
		return true;
	}
	if (n == "orphan")
	{
		set("orphan", {0, 0, 0}, {1, 1, 1}, {{0, 1}, {2}}, {1, 1});
		sc.orphan = true;
		sc.bPub = 1;
		sc.bSrv = 1;
		return true;
	}
	if (n == "orphpark")
	{
		set("orphpark", {0, 0, 0}, {1, 1, 1}, {{0, 1}, {2}}, {1, 1});
		sc.orphan = true;
		sc.bPub = 1;
		sc.poison = 1;
		sc.discard = true;
		return true;
	}
	if (n == "adopt")
	{
		set("adopt", {0, 1, 2}, {1, 1, 1}, {{0}, {1}}, {1 | 4, 1});
		sc.nT = 2;
		sc.adopt = true;
		sc.bPub = 1;
		return true;
	}
	if (n == "hold3")
	{
		set("hold3", {0, 1, 0}, {0, 1, 0}, {{0}, {1}, {2}}, {1, 1, 1});
		sc.bHold = 1;
		sc.maxB = 3;
		return true;
	}
	if (n == "failhold")
	{
		set("failhold", {0, 1, 0}, {0, 1, 0}, {{0, 1}, {2}}, {1, 1});
		sc.bHold = 1;
		sc.bFail = 1;
		return true;
	}
	if (n == "failpark")
	{
		set("failpark", {0, 0}, {1, 1}, {{0}, {1}}, {1, 1});
		sc.poison = 1;
		sc.discard = true;
		sc.bFail = 1;
		return true;
	}
	if (n == "phcrash")
	{
		set("phcrash", {0, 0}, {0, 0}, {{0}, {1}}, {1, 1});
		sc.poison = 1;
		sc.discard = true;
		sc.bHold = 1;
		sc.bSrv = 1;
		return true;
	}
	return false;
}
