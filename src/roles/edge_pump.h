#ifndef POSTERN_ROLES_EDGE_PUMP_H
#define POSTERN_ROLES_EDGE_PUMP_H

/*
 * After login: moves a session's plain bytes between the client's stream and the mailroom's end of
 * a socket pair, both ways, with the back-pressure of both. An idle pump holds no buffer.
 */
struct edge_conn;
struct edge_pump;

/* Takes fd over. The connection is the pump's from here on. */
void edge_pump_start(struct edge_conn *conn, int fd);

/* Moves what can be moved. */
void edge_pump_run(struct edge_pump *p);

/* NULL is allowed. */
void edge_pump_free(struct edge_pump *p);

#endif
